/* Where something is to be found: a descriptor, or a path that is looked up once. */
#ifndef USERNS_LOCATION_H
#define USERNS_LOCATION_H

#include "mount/mount-syscalls.h"

struct location {
	int fd;           /* the place itself when there is no path; otherwise the directory to start from, or −1 */
	const char *path; /* or NULL */
	uint64_t resolve; /* RESOLVE_… of openat2(2); 0: an ordinary look-up */
	int automount;    /* triggers an autofs mount at the last name, as an ordinary look-up does and O_PATH alone does not */
};

/* An O_PATH descriptor of it, to be closed by location_close(). A place that is a descriptor is that very one. */
CALL int location_open(const struct location *location)
{
	if (location->path == NULL) return location->fd;
	if (location->resolve != 0) {
		return call_openat2(location->fd < 0 ? AT_FDCWD : location->fd, location->path, O_PATH, location->resolve);
	}
	if (location->automount) return call_open_tree(location->fd < 0 ? AT_FDCWD : location->fd, location->path, 0);
	return (int)raw_syscall5(SYS_openat, location->fd < 0 ? AT_FDCWD : location->fd, (long)location->path, O_PATH | O_CLOEXEC, 0, 0);
}

CALL void location_close(const struct location *location, int fd)
{
	if (location->path != NULL && fd >= 0) raw_syscall3(SYS_close, fd, 0, 0);
}

#endif
