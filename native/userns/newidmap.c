#include "userns/newidmap.h"
#include "child/child.h"
#include "kernel/auto-close.h"
#include "kernel/raw-syscall.h"
#include "kernel/time-limits.h"
#include "proc/procfs.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_BYTES 4096
#define MOST_ARGUMENTS (340 * 3 + 3) /* as many extents as the kernel accepts, and name, PID and NULL */

/* One run of a program. */
struct newidmap {
	struct child child;
	const char *program; /* its path */
	int input;
	int output;
	int error;    /* written by the child if it cannot execute the program; it shares our memory until then */
	int read_end; /* of the pipe for its output */
	char pid[12];
	char *arguments[MOST_ARGUMENTS];
};

/* Runs in our memory until the program is executed. */
NO_STACK_PROTECTOR static int execute(void *argument)
{
	struct newidmap *run = argument;
	/* The locale does not depend on the caller's environment, so that the output is that of the manual page. */
	static const char *const environment[] = {"LC_ALL=C", NULL};
	const int fds[] = {run->input, run->output, run->output};

	/* A set-user-ID program loses the death signal (commit_creds()), but it ends when the process whose map it writes has ended. */
	child_die_with_parent(&run->child);
	child_die_after(NEWIDMAP_TIMER_MS);
	long error = child_set_fds(fds, 3);
	if (error == 0) {
		child_take_signals();
		error = raw_syscall3(SYS_execve, (long)run->program, (long)run->arguments, (long)environment);
	}
	run->error = (int)error;
	raw_exit(1);
}

/* Cuts a map into the words of the argument vector. Returns 0 if there are too many. */
static int cut(struct newidmap *run, char *text)
{
	int count = 2;
	char *rest = NULL;

	run->arguments[0] = (char *)(uintptr_t)run->program;
	run->arguments[1] = run->pid;
	for (char *word = strtok_r(text, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
		if (count == MOST_ARGUMENTS - 1) return 0;
		run->arguments[count++] = word;
	}
	run->arguments[count] = NULL;
	return 1;
}

static int start(struct newidmap *run, int number, char *map)
{
	int ends[2];

	snprintf(run->pid, sizeof run->pid, "%d", number);
	if (!cut(run, map)) return -E2BIG;
	if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
	run->output = ends[1];
	/* CLONE_VFORK: this thread continues when the program is executed or the child has ended, and it no longer writes here. */
	int error = child_start(&run->child, CLONE_VM | CLONE_VFORK, execute, run);
	close(ends[1]);
	if (error == 0 && run->error < 0) {
		error = run->error;
		child_end(&run->child);
	}
	if (error < 0) close(ends[0]);
	else run->read_end = ends[0];
	return error;
}

/* Appends the available output. Returns 0 at the end of the output. */
static int read_output(int fd, char *text, size_t *length)
{
	char more[512];
	ssize_t got = read(fd, more, sizeof more);
	size_t room = OUTPUT_BYTES - 1 - *length;

	if (got < 0) return errno == EINTR;
	/* Output that does not fit is read and dropped, because the program must not wait for us. */
	memcpy(text + *length, more, (size_t)got < room ? (size_t)got : room);
	*length += (size_t)got < room ? (size_t)got : room;
	text[*length] = '\0';
	return got > 0;
}

/* Reads the output until the program ends. The end of the pipe does not count, because a child of the program may hold it open. */
static int await_end(struct newidmap *run, char *text, long end)
{
	struct pollfd polls[2] = {
		{.fd = run->child.pidfd, .events = POLLIN},
		{.fd = run->read_end, .events = POLLIN},
	};
	size_t length = 0;

	for (;;) {
		long left = end - child_now_ms();
		int ready = left <= 0 ? 0 : poll(polls, 2, (int)left);

		if (ready < 0 && errno == EINTR) continue;
		if (ready < 0) return -errno;
		if (ready == 0) return -ETIMEDOUT;
		if (polls[1].revents == 0) return 0;
		if (!read_output(run->read_end, text, &length)) polls[1].fd = -1;
	}
}

static int finish(struct newidmap *run, char **text, long end)
{
	int error = -ENOMEM;

	*text = calloc(1, OUTPUT_BYTES);
	if (*text != NULL) error = await_end(run, *text, end);
	close(run->read_end);
	if (error == 0) return child_reap(&run->child);
	child_end(&run->child); /* we may kill it, because its real uid is ours; otherwise its timer ends it */
	return error;
}

/*
 * 1. Starts both programs.
 * 2. Reads the output of each until it ends, or until the timeout, which is for both because they run at the same time.
 * 3. Notes the first that failed.
 */
int newidmap_write_maps(int pidfd, const char *const programs[2], char *const maps[2], struct outcome *out)
{
	static const char *const steps[2] = {"newuidmap", "newgidmap"};
	const int number = procfs_number(pidfd);
	const long end = child_now_ms() + NEWIDMAP_TIMEOUT_MS;
	AUTO_CLOSE int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct newidmap *runs;

	if (number < 0) return outcome_fail(out, number, "proc");
	if (input < 0) return outcome_fail(out, -errno, steps[0]);
	runs = calloc(2, sizeof *runs);
	if (runs == NULL) return outcome_fail(out, -ENOMEM, steps[0]);
	for (int i = 0; i < 2; i++) {
		runs[i].child.pidfd = -1;
		runs[i].program = programs[i];
		runs[i].input = input;
		if (programs[i] != NULL) out->statuses[i] = start(&runs[i], number, maps[i]);
	}
	for (int i = 0; i < 2; i++) {
		if (runs[i].child.pidfd >= 0) out->statuses[i] = finish(&runs[i], &out->texts[OUTCOME_SAID + i], end);
		/* waitpid(-1, __WALL) of other code has its status. The maps it wrote are read back in any case. */
		if (out->statuses[i] == -ECHILD) out->statuses[i] = 0;
		if (out->statuses[i] != 0 && out->error == 0) outcome_fail(out, -EPROTO, steps[i]);
	}
	free(runs);
	return out->error;
}
