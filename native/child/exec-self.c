#include "child/exec-self.h"
#include "kernel/kernel-abi.h"
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STANDARD 3

/* What Node did to a standard descriptor and the next program is not to find; −1 where there is none. */
struct standard {
	int status; /* O_NONBLOCK: libuv makes pipes and terminals so, on the open file itself */
};

/* FD_CLOEXEC too: libuv sets it on everything that a process begins with (uv_disable_stdio_inheritance). */
static struct standard hand_over(int fd)
{
	struct standard before = {.status = fcntl(fd, F_GETFL)};

	if (before.status >= 0 && (before.status & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, before.status & ~O_NONBLOCK);
	fcntl(fd, F_SETFD, 0);
	return before;
}

static void take_back(int fd, struct standard before)
{
	if (before.status >= 0 && (before.status & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, before.status);
}

struct attempt {
	const char *program;
	char *const *arguments;
	char *const *environment;
	int fd;
	int death_signal; /* of the main thread: execve(2) keeps what the calling thread has */
	int error;
};

/*
 * On a thread with a descriptor table of its own: in the one that all share, a child that another thread starts at that
 * moment would inherit the descriptor too.
 */
static void *execute_apart(void *argument)
{
	struct attempt *attempt = argument;
	struct standard before[STANDARD];

	if (unshare(CLONE_FILES) < 0 || fcntl(attempt->fd, F_SETFD, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, attempt->death_signal) < 0) {
		attempt->error = -errno;
		return NULL;
	}
	for (int i = 0; i < STANDARD; i++) before[i] = hand_over(i);
	execve(attempt->program, attempt->arguments, attempt->environment);
	attempt->error = -errno;
	for (int i = 0; i < STANDARD; i++) take_back(i, before[i]);
	return NULL;
}

int exec_self(const char *program, char *const *arguments, char *const *environment, int fd)
{
	struct attempt attempt = {.program = program, .arguments = arguments, .environment = environment, .fd = fd};
	pthread_t thread;
	int error;

	if (prctl(PR_GET_PDEATHSIG, &attempt.death_signal) < 0) return -errno;
	error = pthread_create(&thread, NULL, execute_apart, &attempt);
	if (error != 0) return -error;
	pthread_join(thread, NULL);
	return attempt.error;
}
