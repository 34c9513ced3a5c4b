#include "userns/join-process.h"
#include "child/own-program.h"
#include "kernel/raw-syscall.h"
#include "kernel/time-limits.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Runs in our memory until the program is executed, and joins nothing before that. */
NO_STACK_PROTECTOR static int execute(void *argument)
{
	struct join_process *join = argument;
	static const char *const nothing[] = {NULL};
	static const char *const enter[] = {"userns-join", NULL};
	static const char *const make[] = {"userns-join", "new", NULL};
	const int new = join->ns < 0;
	const int fds[] = {join->peer, new ? join->peer : join->ns, join->program};

	child_die_with_parent(&join->child);
	long error = child_set_fds(fds, 3);
	if (error == 0) error = raw_syscall3(SYS_fcntl, 2, F_SETFD, FD_CLOEXEC);
	if (error == 0) error = raw_syscall5(SYS_execveat, 2, (long)"", (long)(new ? make : enter), (long)nothing, AT_EMPTY_PATH);
	join->error = (int)error;
	raw_exit(1);
}

static int start(struct join_process *join, struct outcome *out)
{
	/* CLONE_VFORK: this thread continues when the program is executed or the child has ended, and it no longer writes here. */
	int error = child_start(&join->child, CLONE_VM | CLONE_VFORK, execute, join);

	close(join->program);
	close(join->peer); /* now, because the end of the process must close the connection */
	if (error < 0) return outcome_fail(out, error, "clone");
	return join->error < 0 ? outcome_fail(out, join->error, "execute") : 0;
}

int join_process_begin(struct join_process *join, int ns, struct outcome *out)
{
	int sockets[2];

	join->program = own_program_open(USERNS_JOIN, 0);
	if (join->program < 0) return outcome_fail(out, join->program, "own program");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		outcome_fail(out, -errno, "socketpair");
		close(join->program);
		return out->error;
	}
	join->ns = ns;
	join->error = 0;
	join->control = sockets[0];
	join->peer = sockets[1];
	if (start(join, out) < 0) join_process_end(join);
	return out->error;
}

/* Returns the status that the process sends: 0 or a negative errno; or ETIMEDOUT or EPIPE if it sends none. */
static int read_status(int control)
{
	const struct timeval timeout = {.tv_sec = JOIN_PROCESS_TIMEOUT_MS / 1000};
	int status = 0;
	ssize_t got;

	if (setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0) return -errno;
	do got = recv(control, &status, sizeof status, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0) return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return got == (ssize_t)sizeof status ? status : -EPIPE;
}

int join_process_await(struct join_process *join, struct outcome *out)
{
	int error = read_status(join->control);

	return error < 0 ? outcome_fail(out, error, join->ns >= 0 ? "join" : "unshare") : 0;
}

int join_process_start(struct join_process *join, int ns, struct outcome *out)
{
	if (join_process_begin(join, ns, out) < 0) return out->error;
	if (join_process_await(join, out) < 0) join_process_end(join);
	return out->error;
}

void join_process_stop(struct join_process *join)
{
	child_kill(&join->child);
	close(join->control);
	join->control = -1;
}

void join_process_end(struct join_process *join)
{
	if (join->control >= 0) join_process_stop(join);
	if (join->child.pidfd >= 0) child_reap(&join->child);
}
