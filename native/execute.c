#include "execute.h"
#include "compat.h"
#include <errno.h>
#include <unistd.h>

/* libuv makes pipes and terminals non-blocking, on the open file itself; few programs can do with that. */
static int block(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && (flags & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	return flags;
}

int execute_program(const char *program, char *const *arguments, char *const *environment, int fd)
{
	int flags[3];
	int error;

	if (fcntl(fd, F_SETFD, 0) < 0) return -errno;
	for (int i = 0; i < 3; i++) flags[i] = block(i);
	execve(program, arguments, environment);
	error = -errno;
	for (int i = 0; i < 3; i++) {
		if (flags[i] >= 0 && (flags[i] & O_NONBLOCK) != 0) fcntl(i, F_SETFL, flags[i]);
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return error;
}
