#include "joiner.h"
#include "raw.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Joining takes microseconds; a machine that needs ten seconds for it has other troubles. */
#define PATIENCE_MS 10000

/* Runs in our memory until the program is executed, and joins nothing before. */
NO_STACK_PROTECTOR static int execute(void *argument)
{
	struct joiner *joiner = argument;
	static const char *const nothing[] = {NULL};
	static const char *const join[] = {"userns-join", NULL};
	static const char *const make[] = {"userns-join", "new", NULL};
	const int kept[] = {joiner->theirs, joiner->ns >= 0 ? joiner->ns : joiner->theirs, joiner->program};
	long error;

	child_die_with_parent(&joiner->child);
	error = child_keep_three(kept, O_CLOEXEC);
	if (error == 0) {
		error = raw_syscall5(SYS_execveat, 2, (long)"", (long)(joiner->ns >= 0 ? join : make), (long)nothing,
				     AT_EMPTY_PATH);
	}
	joiner->error = (int)error;
	raw_exit(1);
}

/* What the joiner says: 0, a negative errno, or ETIMEDOUT or EPIPE when it says nothing. */
static int await_status(int control)
{
	struct pollfd poller = {.fd = control, .events = POLLIN};
	int status = 0;
	ssize_t got;
	int ready;

	do ready = poll(&poller, 1, PATIENCE_MS);
	while (ready < 0 && errno == EINTR);
	if (ready < 0) return -errno;
	if (ready == 0) return -ETIMEDOUT;
	do got = recv(control, &status, sizeof status, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0) return -errno;
	return got == (ssize_t)sizeof status ? status : -EPIPE;
}

static int start(struct joiner *joiner, struct outcome *out)
{
	/* CLONE_VFORK: we go on when the program is executed or the child has ended, so its writes here are over. */
	int error = child_start(&joiner->child, CLONE_VM | CLONE_VFORK, execute, joiner);

	close(joiner->theirs); /* at once, so that a joiner that dies is seen as the end of the conversation */
	if (error < 0) return outcome_fail(out, error, "clone");
	if (joiner->error < 0) return outcome_fail(out, joiner->error, "execute");
	error = await_status(joiner->control);
	return error < 0 ? outcome_fail(out, error, joiner->ns >= 0 ? "join" : "clone") : 0;
}

int joiner_start(struct joiner *joiner, const char *path, int ns, struct outcome *out)
{
	int sockets[2];

	*joiner = (struct joiner){.ns = ns, .program = open(path, O_PATH | O_CLOEXEC)};
	joiner->child.pidfd = -1;
	if (joiner->program < 0) return outcome_fail(out, -errno, "execute");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		outcome_fail(out, -errno, "socketpair");
		close(joiner->program);
		return out->error;
	}
	joiner->control = sockets[0];
	joiner->theirs = sockets[1];
	if (start(joiner, out) == 0) return 0;
	joiner_end(joiner);
	return out->error;
}

void joiner_end(struct joiner *joiner)
{
	child_end(&joiner->child);
	close(joiner->control);
	close(joiner->program);
}
