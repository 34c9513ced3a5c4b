/* A location: a descriptor, or a path that is looked up once. */
#ifndef USERNS_LOCATION_H
#define USERNS_LOCATION_H

#include "mount/mount-syscalls.h"

struct location {
	int fd;           /* without a path the location itself; otherwise the directory to start from, or −1 */
	const char *path; /* or NULL */
	uint64_t resolve; /* RESOLVE_… of openat2(2); 0: an ordinary look-up */
	int automount;    /* triggers an autofs mount at the last name, as an ordinary look-up does and O_PATH does not */
};

CALL int location_start(const struct location *location)
{
	return location->fd < 0 ? AT_FDCWD : location->fd;
}

/* Returns an O_PATH descriptor, which location_close() closes; or, if the location is a descriptor, that descriptor. */
CALL int location_open(const struct location *location)
{
	const int start = location_start(location);

	if (location->path == NULL) return location->fd;
	if (location->resolve != 0) return call_openat2(start, location->path, O_PATH, location->resolve, MOST_WALKS);
	if (location->automount) return call_open_tree(start, location->path, 0);
	return (int)raw_syscall5(SYS_openat, start, (long)location->path, O_PATH | O_CLOEXEC, 0, 0);
}

CALL void location_close(const struct location *location, int fd)
{
	if (location->path != NULL && fd >= 0) raw_syscall3(SYS_close, fd, 0, 0);
}

#endif
