#include "join.h"
#include "child.h"
#include "nsfs.h"
#include "procfs.h"
#include "raw.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Joining takes microseconds; a machine that needs ten seconds for it has other troubles. */
#define PATIENCE_MS 10000

struct joiner {
	struct child child;
	int control;
	int ns;
	int program; /* O_PATH */
	int error;   /* written by the child when it cannot execute the program; we share its memory until then */
};

/* Runs in our memory until the program is executed, and joins nothing before. */
NO_STACK_PROTECTOR static int execute(void *argument)
{
	struct joiner *joiner = argument;
	static const char *const nothing[] = {NULL};
	static const char *const arguments[] = {"userns-join", NULL};
	const int kept[] = {joiner->control, joiner->ns, joiner->program};
	long error;

	child_die_with_parent(&joiner->child);
	error = child_keep_three(kept, O_CLOEXEC);
	if (error == 0) {
		error = raw_syscall5(SYS_execveat, 2, (long)"", (long)arguments, (long)nothing, AT_EMPTY_PATH);
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

static void read_from_outside(const struct joiner *joiner, struct outcome *out)
{
	int process = procfs_open_process(joiner->child.pidfd, joiner->child.pid);

	if (process < 0) {
		outcome_fail(out, process, "proc");
		return;
	}
	nsfs_read_maps(process, out);
	close(process);
}

static void join_and_read(struct joiner *joiner, int sockets[2], struct outcome *out)
{
	int error;

	joiner->control = sockets[1];
	/* CLONE_VFORK: we go on when the program is executed or the child has ended, so its writes here are over. */
	error = child_start(&joiner->child, CLONE_VM | CLONE_VFORK, execute, joiner);
	close(sockets[1]); /* at once, so that a joiner that dies is seen as the end of the conversation */
	if (error < 0) {
		outcome_fail(out, error, "clone");
		return;
	}
	if (joiner->error < 0) outcome_fail(out, joiner->error, "execute");
	else {
		error = await_status(sockets[0]);
		if (error < 0) outcome_fail(out, error, "join");
		else read_from_outside(joiner, out);
	}
	child_end(&joiner->child);
}

/* Nobody can join where he is; then /proc has the maps of this very thread. 1 when that answered. */
static int read_own(int ns, struct outcome *out)
{
	struct stat wanted;
	struct stat own;
	int process;

	if (fstat(ns, &wanted) < 0 || stat("/proc/thread-self/ns/user", &own) < 0) return 0;
	if (own.st_dev != wanted.st_dev || own.st_ino != wanted.st_ino) return 0;
	process = open("/proc/thread-self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process < 0) return 0;
	nsfs_read_maps(process, out);
	close(process);
	return 1;
}

void join_read_maps(const struct join_request *request, struct outcome *out)
{
	struct joiner joiner = {.ns = request->ns, .program = -1};
	int sockets[2];

	if (read_own(request->ns, out)) return;
	joiner.program = open(request->helper, O_PATH | O_CLOEXEC);
	if (joiner.program < 0) {
		outcome_fail(out, -errno, "execute");
		return;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) outcome_fail(out, -errno, "socketpair");
	else {
		join_and_read(&joiner, sockets, out);
		close(sockets[0]);
	}
	close(joiner.program);
}
