#include "child/exec-self.h"
#include "child/own-program.h"
#include "kernel/auto-close.h"
#include "kernel/kernel-abi.h"
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STANDARD 3

/*
 * Prepares a standard descriptor for the program. Removes O_NONBLOCK, which libuv sets on the open file of pipes and terminals,
 * and FD_CLOEXEC, which libuv sets on every inherited descriptor (uv_disable_stdio_inheritance()). Returns the status flags, or
 * −1 if the descriptor is closed.
 */
static int prepare_standard(int fd)
{
	int status = fcntl(fd, F_GETFL);

	if (status >= 0 && (status & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, status & ~O_NONBLOCK);
	fcntl(fd, F_SETFD, 0);
	return status;
}

static void restore_standard(int fd, int status)
{
	if (status >= 0 && (status & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, status);
}

struct attempt {
	int program;
	char *const *arguments;
	char *const *environment;
	const struct exec_fds *fds;
	int death_signal; /* of the main thread, because execve(2) preserves that of the calling thread */
	struct outcome *out;
};

/* In the descriptor table of this thread alone. Returns -1, with errno, if a descriptor is closed. */
static int inherit(const struct exec_fds *fds)
{
	for (size_t i = 0; i < fds->count; i++) {
		if (fcntl(fds->list[i], F_SETFD, 0) < 0) return -1;
	}
	for (int fd = STANDARD; fd < fds->below; fd++) {
		if (fcntl(fd, F_SETFD, 0) < 0) return -1;
	}
	return 0;
}

/*
 * Runs on a thread with its own descriptor table. In the shared table, a child that another thread starts at that moment would
 * inherit the descriptor too.
 */
static void *execute_in_thread(void *argument)
{
	struct attempt *attempt = argument;
	int before[STANDARD];

	const char *step = NULL;

	/* As unshare(CLONE_FILES), which the seccomp filters of some containers refuse. It closes nothing. */
	if (syscall(SYS_close_range, ~0U, ~0U, USERNS_CLOSE_RANGE_UNSHARE) < 0) step = "own table";
	else if (inherit(attempt->fds) < 0) step = "inherit";
	else if (prctl(PR_SET_PDEATHSIG, attempt->death_signal) < 0) step = "death signal";
	if (step != NULL) {
		outcome_fail(attempt->out, -errno, step);
		return NULL;
	}
	for (int i = 0; i < STANDARD; i++) before[i] = prepare_standard(i);
	syscall(SYS_execveat, attempt->program, "", attempt->arguments, attempt->environment, AT_EMPTY_PATH);
	outcome_fail(attempt->out, -errno, "enter program");
	for (int i = 0; i < STANDARD; i++) restore_standard(i, before[i]);
	return NULL;
}

void exec_self(char *const *arguments, char *const *environment, const struct exec_fds *fds, struct outcome *out)
{
	AUTO_CLOSE int program = own_program_open(USERNS_ENTER, fds->below > STANDARD ? fds->below : STANDARD);
	struct attempt attempt = {
		.program = program, .arguments = arguments, .environment = environment, .fds = fds, .out = out};
	pthread_t thread;
	int error = program < 0 ? program : 0;
	const char *step = "own program";

	if (error == 0 && prctl(PR_GET_PDEATHSIG, &attempt.death_signal) < 0) {
		error = -errno;
		step = "death signal";
	}
	if (error == 0) {
		error = -pthread_create(&thread, NULL, execute_in_thread, &attempt);
		step = "thread";
	}
	if (error < 0) outcome_fail(out, error, step);
	else pthread_join(thread, NULL);
}
