#include "execute.h"
#include "compat.h"
#include <errno.h>
#include <unistd.h>

#define STANDARD 3

/* What Node did to a standard descriptor and the next program is not to find; −1 where there is none. */
struct standard {
	int status; /* O_NONBLOCK: libuv makes pipes and terminals so, on the open file itself */
	int flags;  /* FD_CLOEXEC: libuv sets it on everything that a process begins with (uv_disable_stdio_inheritance) */
};

static struct standard hand_over(int fd)
{
	struct standard before = {.status = fcntl(fd, F_GETFL), .flags = fcntl(fd, F_GETFD)};

	if (before.status >= 0 && (before.status & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, before.status & ~O_NONBLOCK);
	if (before.flags > 0) fcntl(fd, F_SETFD, 0);
	return before;
}

static void take_back(int fd, struct standard before)
{
	if (before.status >= 0 && (before.status & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, before.status);
	if (before.flags > 0) fcntl(fd, F_SETFD, before.flags);
}

int execute_program(const char *program, char *const *arguments, char *const *environment, int fd)
{
	struct standard before[STANDARD];
	int error;

	if (fcntl(fd, F_SETFD, 0) < 0) return -errno;
	for (int i = 0; i < STANDARD; i++) before[i] = hand_over(i);
	execve(program, arguments, environment);
	error = -errno;
	for (int i = 0; i < STANDARD; i++) take_back(i, before[i]);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return error;
}
