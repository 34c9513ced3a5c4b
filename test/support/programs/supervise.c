/*
 * supervise PROGRAM [ARGUMENT…]: runs a program and stands between it and the kernel. On the program's request, its
 * N-th system call from then on fails with an errno, or ends the program, or is held (test/support/supervise.ts has the
 * words). The supervisor adopts its orphans, so it knows when the last one is gone: exit status 99 if one still runs
 * three seconds after the program, otherwise the program's own, or 128 and the signal.
 *
 * It uses seccomp_unotify(2) and not ptrace: the program's own tracing rules stay, threads and children that share its
 * memory need no care, and a whole matrix takes one run.
 */
#define _GNU_SOURCE
#include "supervise.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS 3000
#define SURVIVORS 99
static const int group_signals[] = {SIGINT, SIGTERM, SIGHUP};

/*
 * SIG_DFL for the program, whatever the shell ignores; SIG_IGN for the supervisor, because signals to the group are for
 * the program.
 */
static void dispose(void (*how)(int))
{
	for (size_t i = 0; i < sizeof group_signals / sizeof group_signals[0]; i++) signal(group_signals[i], how);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * A child that shares the descriptor table until it executes the program, so that the supervisor has the listener too.
 */
static pid_t start(char **arguments, int *listener)
{
	volatile int *number = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;

	if (number == MAP_FAILED) return -1;
	*number = -1;
	child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		int fd;

		dispose(SIG_DFL);
		fd = filter_install();

		if (fd < 0) _exit(127);
		*number = fd; /* from here on every call waits for an answer */
		execvp(arguments[0], arguments);
		_exit(127);
	}
	for (int i = 0; i < 2000 && *number < 0; i++) usleep(1000);
	*listener = *number;
	return *number < 0 ? -1 : child;
}

/* Returns whether the thread waited for the answer. ENOENT: it was killed meanwhile. */
static int answer(int listener, struct seccomp_notif_resp *response)
{
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response) == 0;
}

/*
 * Whether the thread has a pending SIGKILL. It would still make its call if the answer came before it runs again, which is sure
 * with one processor, although it could begin no other call.
 */
static int is_killed(unsigned tid)
{
	char path[64];
	char line[256];
	int killed = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%u/status", tid);
	file = fopen(path, "r");
	if (file == NULL) return 0;
	while (fgets(line, sizeof line, file) != NULL) {
		unsigned long long pending;

		if (sscanf(line, "SigPnd: %llx", &pending) == 1 && (pending >> (SIGKILL - 1) & 1)) killed = 1;
	}
	fclose(file);
	return killed;
}

static void serve(struct plan *plan, int listener)
{
	struct seccomp_notif call = {0};
	struct seccomp_notif_resp response = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) return;
	if (plan->ended && is_killed(call.pid)) return;
	response.id = call.id;
	switch (plan_decide(plan, &call, &response)) {
	case DECIDE_ANSWER:
		answer(listener, &response);
		break;
	case DECIDE_HOLD:
		plan->held = call.id;
		plan->release_at = now_ms() + plan->argument;
		break;
	case DECIDE_KILL:
		/*
		 * A killed thread of the program gets no answer, because it must not go on. A child's call waits for the end.
		 */
		plan->killed = call.id;
		plan->killed_thread = call.pid;
		/* Node has handlers for the other signals, which run after the call. */
		plan->release_at = now_ms() + (plan->argument == SIGKILL ? TIMEOUT_MS : 20);
		kill(plan->program, plan->argument);
		break;
	}
}

/* Prints the name of each process that is left. */
static void name_survivors(void)
{
	char path[64];
	char line[4096] = "";
	FILE *file;

	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "r");
	if (file != NULL) {
		if (fgets(line, sizeof line, file) == NULL) line[0] = '\0';
		fclose(file);
	}
	for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) {
		char name[64] = "";

		snprintf(path, sizeof path, "/proc/%s/comm", word);
		file = fopen(path, "r");
		if (file != NULL) {
			if (fgets(name, sizeof name, file) == NULL) name[0] = '\0';
			fclose(file);
		}
		fprintf(stderr, "supervise: still alive: %s %s\n", word, name);
		kill(atoi(word), SIGKILL);
	}
}

/* Reaps, and keeps the program's status. Returns false if there is no child any more. */
static int reap(struct plan *plan, int *status)
{
	for (;;) {
		int ended;
		pid_t pid = waitpid(-1, &ended, WNOHANG | __WALL);

		if (pid == 0) return 1;
		if (pid < 0) return errno == EINTR;
		if (pid != plan->program) continue;
		*status = WIFSIGNALED(ended) ? 128 + WTERMSIG(ended) : WEXITSTATUS(ended);
		plan->ended = 1;
	}
}

static int release(int listener, uint64_t *id)
{
	struct seccomp_notif_resp response = {.id = *id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

	*id = 0;
	return answer(listener, &response);
}

/* The call at which the program was killed, if a child makes it nevertheless. */
static void release_killed(struct plan *plan, int listener)
{
	if (plan->ended && is_killed(plan->killed_thread)) return;
	if (release(listener, &plan->killed)) plan_made(plan, plan->hit);
}

static int watch(struct plan *plan, int listener)
{
	long end = 0;
	int status = 0;

	while (reap(plan, &status)) {
		struct pollfd poller = {.fd = listener, .events = POLLIN};

		if (plan->ended && end == 0) end = now_ms() + TIMEOUT_MS;
		if (plan->killed != 0 && (plan->ended || now_ms() >= plan->release_at)) release_killed(plan, listener);
		if (plan->held != 0 && (plan->let_go || now_ms() >= plan->release_at)) release(listener, &plan->held);
		if (end != 0 && now_ms() > end) {
			name_survivors();
			return SURVIVORS;
		}
		if (plan_is_dying(plan)) {
			usleep(200);
			continue;
		}
		if (poll(&poller, 1, 2) > 0 && (poller.revents & POLLIN)) serve(plan, listener);
		else if (poller.revents & POLLHUP) usleep(1000); /* no process has the filter; there may be one to reap */
	}
	return status;
}

int main(int argc, char **argv)
{
	struct plan plan = {0};
	int listener = -1;
	int status;

	if (argc < 2 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) return 127;
	plan.program = start(argv + 1, &listener);
	if (plan.program < 0) {
		fprintf(stderr, "supervise: no filter: %s\n", strerror(errno));
		return 127;
	}
	dispose(SIG_IGN);
	status = watch(&plan, listener);
	plan_tell(&plan);
	return status;
}
