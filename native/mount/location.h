/* Where something is to be found: a descriptor, or a path that is looked up once. */
#ifndef USERNS_LOCATION_H
#define USERNS_LOCATION_H

#include "mount/mount-syscalls.h"

struct place {
	int fd;           /* the place itself when there is no path; otherwise the directory to start from, or −1 */
	const char *path; /* or NULL */
	uint64_t resolve; /* RESOLVE_… of openat2(2); 0: an ordinary look-up */
	int automount;    /* triggers an autofs mount at the last name, as an ordinary look-up does and O_PATH alone does not */
};

/* An O_PATH descriptor of it, to be closed by place_close(). A place that is a descriptor is that very one. */
CALL int place_open(const struct place *place)
{
	if (place->path == NULL) return place->fd;
	if (place->resolve != 0) {
		return call_openat2(place->fd < 0 ? AT_FDCWD : place->fd, place->path, O_PATH, place->resolve);
	}
	if (place->automount) return call_open_tree(place->fd < 0 ? AT_FDCWD : place->fd, place->path, 0);
	return (int)raw_syscall5(SYS_openat, place->fd < 0 ? AT_FDCWD : place->fd, (long)place->path, O_PATH | O_CLOEXEC, 0, 0);
}

CALL void place_close(const struct place *place, int fd)
{
	if (place->path != NULL && fd >= 0) raw_syscall3(SYS_close, fd, 0, 0);
}

#endif
