/* The action for each call. */
#define _GNU_SOURCE
#include "supervise.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif

/* The words come as the pid argument of a kill(2), because no other call of a script has so many bits. */
#define WORD_FIRST 0x40000000L
/* The result of kill(2) for the word 0: the number of the affected call and this, or the count and that. */
#define SAY_HIT 1
#define SAY_COUNT 2000

static int control(struct plan *plan, long word)
{
	enum action action = (enum action)(word >> 26 & 15);
	int said = plan->hit >= 0 ? SAY_HIT + plan->hit : SAY_COUNT + (int)plan->count;

	/* While a call is held, another process asks whether it is. */
	if (action == ACTION_NONE && (word & 1)) return plan->held != 0 ? 1 : 2;
	if (action == ACTION_NONE && (word & 2)) return (plan->let_go = 1) - 1;
	plan->action = action;
	plan->argument = (int)(word & 0xfff);
	plan->index = (unsigned)(word >> 12 & 0xfff);
	plan->scope = (enum scope)(word >> 24 & 3);
	if (action == ACTION_NONE) return said;
	plan->count = 0;
	plan->attached = 0;
	plan->late = 0;
	plan->hit = -1;
	plan->let_go = 0;
	return 0;
}

static int is_of(const char *path, const char *what)
{
	char link[4096];
	ssize_t length = readlink(path, link, sizeof link - 1);

	if (length < 0) return 0;
	link[length] = '\0';
	return strstr(link, what) != NULL;
}

/* The same program: a child that shares its memory and has not executed another one yet. */
static int is_same(const char *path, pid_t program)
{
	struct stat one;
	struct stat other;
	char own[64];

	snprintf(own, sizeof own, "/proc/%d/exe", (int)program);
	if (stat(path, &one) < 0 || stat(own, &other) < 0) return 0;
	return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static int is_own(const struct plan *plan, unsigned tid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/task/%u", (int)plan->program, tid);
	return access(path, F_OK) == 0;
}

/* The value of libuv's eventfd, with which its threads wake each other. */
static int is_wakeup(const struct seccomp_notif *call)
{
	char path[64];

	if (call->data.nr != SYS_read && call->data.nr != SYS_write) return 0;
	snprintf(path, sizeof path, "/proc/%u/fd/%d", call->pid, (int)call->data.args[0]);
	return is_of(path, "eventfd");
}

static int is_in_scope(const struct plan *plan, const struct seccomp_notif *call)
{
	char path[64];
	int own = is_own(plan, call->pid);

	if (plan->scope == SCOPE_OWN) return own && !is_wakeup(call);
	if (own) return 0;
	snprintf(path, sizeof path, "/proc/%u/exe", call->pid);
	return is_of(path, "/memfd:userns-") || (plan->scope == SCOPE_CHILDREN && is_same(path, plan->program));
}

static int counts(const struct plan *plan, const struct seccomp_notif *call)
{
	const int number = call->data.nr;

	switch (plan->action) {
	case ACTION_NONE:
		return 0;
	case ACTION_ERRNO:
		/* close(2) frees the number whatever it returns, and here it would not be made at all. */
		if (number == SYS_close) return 0;
		break;
	case ACTION_SHORT:
		if (number != SYS_write) return 0;
		break;
	case ACTION_PARTIAL:
		if (number != SYS_read) return 0;
		break;
	case ACTION_STICKY:
		if (number != (int)plan->index) return 0;
		break;
	default:
		break;
	}
	return is_in_scope(plan, call);
}

/* Reads for the program, from its own open file, and fewer bytes than requested. */
static int read_part(const struct plan *plan, const struct seccomp_notif *call, struct seccomp_notif_resp *response)
{
	char bytes[4096];
	size_t most = (size_t)call->data.args[2];
	int process = (int)syscall(SYS_pidfd_open, plan->program, 0);
	int fd = (int)syscall(SYS_pidfd_getfd, process, (int)call->data.args[0], 0);
	struct iovec here = {.iov_base = bytes};
	struct iovec there = {.iov_base = (void *)(uintptr_t)call->data.args[1]};
	ssize_t got = -1;

	if (most > (size_t)plan->argument) most = (size_t)plan->argument;
	if (fd >= 0) got = read(fd, bytes, most);
	if (got > 0) {
		here.iov_len = there.iov_len = (size_t)got;
		got = process_vm_writev((pid_t)call->pid, &here, 1, &there, 1, 0);
	}
	if (fd >= 0) close(fd);
	if (process >= 0) close(process);
	if (got < 0) return 0;
	response->flags = 0;
	response->val = got;
	return 1;
}

int plan_is_dying(const struct plan *plan)
{
	return plan->killed != 0 && plan->argument == SIGKILL && !plan->ended;
}

static enum decision decide(struct plan *plan, const struct seccomp_notif *call, struct seccomp_notif_resp *response)
{
	const long first = (long)(int)call->data.args[0];

	if (call->data.nr == SYS_kill && -first >= WORD_FIRST) {
		response->flags = 0;
		response->error = -control(plan, -first - WORD_FIRST);
		return DECIDE_ANSWER;
	}
	if (!counts(plan, call)) return DECIDE_ANSWER;
	if (plan->count < MOST_CALLS) plan->calls[plan->count] = (short)call->data.nr;
	plan->count++;
	if (plan->action == ACTION_PARTIAL) {
		if (plan->count >= plan->index && read_part(plan, call, response)) plan->hit = call->data.nr;
		return DECIDE_ANSWER;
	}
	if (plan->action != ACTION_STICKY && (plan->count != plan->index || plan->hit >= 0)) return DECIDE_ANSWER;
	plan->hit = call->data.nr;
	switch (plan->action) {
	case ACTION_HOLD:
		return DECIDE_HOLD;
	case ACTION_KILL:
		return DECIDE_KILL;
	case ACTION_SHORT:
		response->flags = 0;
		response->val = (int64_t)call->data.args[2] - 1;
		return DECIDE_ANSWER;
	default:
		response->flags = 0;
		response->error = -plan->argument;
		return DECIDE_ANSWER;
	}
}

void plan_made(struct plan *plan, int number)
{
	if (number != SYS_move_mount) return;
	plan->attached++;
	if (plan->ended) plan->late++;
}

enum decision plan_decide(struct plan *plan, const struct seccomp_notif *call, struct seccomp_notif_resp *response)
{
	enum decision decision = decide(plan, call, response);

	if (decision != DECIDE_KILL && (response->flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE)) plan_made(plan, call->data.nr);
	return decision;
}

void plan_tell(const struct plan *plan)
{
	/* The call at which the process was killed was not made. A held call was made, and so were the calls after it. */
	const int killed = plan->action == ACTION_KILL && plan->argument == SIGKILL;
	const unsigned made = killed ? plan->index - 1 : plan->count;

	if (plan->action != ACTION_KILL && plan->action != ACTION_HOLD) return;
	fprintf(stderr, "supervise: %s", plan->hit >= 0 ? "reached after" : "not reached after");
	for (unsigned i = 0; i < plan->count && i < made && i < MOST_CALLS; i++) fprintf(stderr, " %d", plan->calls[i]);
	fprintf(stderr, "\nsupervise: %u attached, %u of them late\n", plan->attached, plan->late);
}
