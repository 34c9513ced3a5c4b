#include "userns/join-process.h"
#include "kernel/raw-syscall.h"
#include "kernel/time-limits.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Runs in our memory until the program is executed, and joins nothing before. */
NO_STACK_PROTECTOR static int execute(void *argument)
{
	struct joiner *joiner = argument;
	static const char *const nothing[] = {NULL};
	static const char *const join[] = {"userns-join", NULL};
	static const char *const make[] = {"userns-join", "new", NULL};
	const int new = joiner->ns < 0;
	const int kept[] = {joiner->theirs, new ? joiner->theirs : joiner->ns};
	long error;

	child_die_with_parent(&joiner->child);
	error = child_keep(kept, 2);
	if (error == 0) error = raw_syscall3(SYS_execve, (long)joiner->path, (long)(new ? make : join), (long)nothing);
	joiner->error = (int)error;
	raw_exit(1);
}

static int begin(struct joiner *joiner, struct outcome *out)
{
	/* CLONE_VFORK: we go on when the program is executed or the child has ended, so its writes here are over. */
	int error = child_start(&joiner->child, CLONE_VM | CLONE_VFORK, execute, joiner);

	close(joiner->theirs); /* at once, so that a joiner that dies is seen as the end of the conversation */
	if (error < 0) return outcome_fail(out, error, "clone");
	return joiner->error < 0 ? outcome_fail(out, joiner->error, "execute") : 0;
}

int joiner_begin(struct joiner *joiner, const char *path, int ns, struct outcome *out)
{
	int sockets[2];

	joiner->path = path;
	joiner->ns = ns;
	joiner->error = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		return outcome_fail(out, -errno, "socketpair");
	}
	joiner->control = sockets[0];
	joiner->theirs = sockets[1];
	if (begin(joiner, out) < 0) joiner_end(joiner);
	return out->error;
}

/* What the joiner says: 0, a negative errno, or ETIMEDOUT or EPIPE when it says nothing. */
static int read_status(int control)
{
	const struct timeval patience = {.tv_sec = JOINER_ANSWER_MS / 1000};
	int status = 0;
	ssize_t got;

	if (setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0) return -errno;
	do got = recv(control, &status, sizeof status, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0) return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return got == (ssize_t)sizeof status ? status : -EPIPE;
}

int joiner_await(struct joiner *joiner, struct outcome *out)
{
	int error = read_status(joiner->control);

	return error < 0 ? outcome_fail(out, error, joiner->ns >= 0 ? "join" : "clone") : 0;
}

int joiner_start(struct joiner *joiner, const char *path, int ns, struct outcome *out)
{
	if (joiner_begin(joiner, path, ns, out) < 0) return out->error;
	if (joiner_await(joiner, out) < 0) joiner_end(joiner);
	return out->error;
}

void joiner_stop(struct joiner *joiner)
{
	child_kill(&joiner->child);
	close(joiner->control);
	joiner->control = -1;
}

void joiner_end(struct joiner *joiner)
{
	if (joiner->control >= 0) joiner_stop(joiner);
	if (joiner->child.pidfd >= 0) child_reap(&joiner->child);
}
