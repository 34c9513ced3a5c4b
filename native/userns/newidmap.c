#include "userns/newidmap.h"
#include "proc/procfs.h"
#include "kernel/raw-syscall.h"
#include "kernel/time-limits.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SAID_BYTES 4096

/* Runs in our memory until the program is executed. */
NO_STACK_PROTECTOR static int execute(void *argument)
{
	struct newidmap *helper = argument;
	/* Whatever the caller's environment says: the words are to be the ones that the manual has. */
	static const char *const environment[] = {"LC_ALL=C", NULL};
	const int kept[] = {helper->input, helper->output, helper->output};
	long error;

	/* The kernel forgets it at a set-uid program (commit_creds()); that one ends when the process it writes for is gone. */
	child_die_with_parent(&helper->child);
	child_die_after(NEWIDMAP_TIMER_MS);
	error = child_keep(kept, 3);
	if (error == 0) {
		child_take_signals();
		error = raw_syscall3(SYS_execve, (long)helper->program, (long)helper->arguments, (long)environment);
	}
	helper->error = (int)error;
	raw_exit(1);
}

/* The words of a text in an argument vector. False when there are more than can be. */
static int cut(struct newidmap *helper, char *text)
{
	int count = 2;
	char *rest = NULL;

	helper->arguments[0] = (char *)(uintptr_t)helper->program;
	helper->arguments[1] = helper->pid;
	for (char *word = strtok_r(text, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
		if (count == NEWIDMAP_ARGUMENTS - 1) return 0;
		helper->arguments[count++] = word;
	}
	helper->arguments[count] = NULL;
	return 1;
}

static int start(struct newidmap *helper, int number, char *map)
{
	int ends[2];
	int error;

	snprintf(helper->pid, sizeof helper->pid, "%d", number);
	if (!cut(helper, map)) return -E2BIG;
	if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
	helper->output = ends[1];
	/* CLONE_VFORK: we go on when the program is executed or the child has ended, so its writes here are over. */
	error = child_start(&helper->child, CLONE_VM | CLONE_VFORK, execute, helper);
	close(ends[1]);
	if (error == 0 && helper->error < 0) {
		error = helper->error;
		child_end(&helper->child);
	}
	if (error < 0) close(ends[0]);
	else helper->listening = ends[0];
	return error;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Takes what there is to read. False at the end. */
static int take(int fd, char *said, size_t *length)
{
	char more[512];
	ssize_t got = read(fd, more, sizeof more);
	size_t room = SAID_BYTES - 1 - *length;

	if (got < 0) return errno == EINTR;
	/* What is too long is read all the same: the program must not wait for us. */
	memcpy(said + *length, more, (size_t)got < room ? (size_t)got : room);
	*length += (size_t)got < room ? (size_t)got : room;
	said[*length] = '\0';
	return got > 0;
}

/* Hears the program out until it ends: its end counts, and not that of the pipe, which a child of its own may hold. */
static int hear(struct newidmap *helper, char *said, long end)
{
	struct pollfd polls[2] = {
		{.fd = helper->child.pidfd, .events = POLLIN},
		{.fd = helper->listening, .events = POLLIN},
	};
	size_t length = 0;

	for (;;) {
		long left = end - now_ms();
		int ready = left <= 0 ? 0 : poll(polls, 2, (int)left);

		if (ready < 0 && errno == EINTR) continue;
		if (ready < 0) return -errno;
		if (ready == 0) return -ETIMEDOUT;
		if (polls[1].revents == 0) return 0;
		if (!take(helper->listening, said, &length)) polls[1].fd = -1;
	}
}

static int finish(struct newidmap *helper, char **text, long end)
{
	char *said = malloc(SAID_BYTES);
	int error = -ENOMEM;

	if (said != NULL) {
		said[0] = '\0';
		error = hear(helper, said, end);
	}
	*text = said;
	close(helper->listening);
	if (error == 0) return child_reap(&helper->child);
	child_end(&helper->child); /* its real uid is ours, so that we may; else it ends by itself soon */
	return error;
}

static int write_maps(int number, const char *const programs[2], char *const maps[2], struct outcome *out)
{
	static const char *const steps[2] = {"newuidmap", "newgidmap"};
	struct newidmap *helpers = calloc(2, sizeof *helpers);
	int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	long end = now_ms() + NEWIDMAP_TIMEOUT_MS; /* for both, because they run at the same time */

	if (helpers == NULL || input < 0) {
		outcome_fail(out, input < 0 ? -errno : -ENOMEM, steps[0]);
		if (input >= 0) close(input);
		free(helpers);
		return out->error;
	}
	for (int i = 0; i < 2; i++) {
		helpers[i].child.pidfd = -1;
		helpers[i].program = programs[i];
		helpers[i].input = input;
		if (programs[i] != NULL) out->statuses[i] = start(&helpers[i], number, maps[i]);
	}
	for (int i = 0; i < 2; i++) {
		if (helpers[i].child.pidfd >= 0) out->statuses[i] = finish(&helpers[i], &out->texts[OUTCOME_SAID + i], end);
		/* Somebody's waitpid(-1, __WALL) has its status. What it wrote counts, and is read back in any case. */
		if (out->statuses[i] == -ECHILD) out->statuses[i] = 0;
		if (out->statuses[i] != 0 && out->error == 0) outcome_fail(out, -EPROTO, steps[i]);
	}
	close(input);
	free(helpers);
	return out->error;
}

int newidmap_write_maps(int pidfd, const char *const programs[2], char *const maps[2], struct outcome *out)
{
	int number = procfs_number(pidfd);

	return number < 0 ? outcome_fail(out, number, "proc") : write_maps(number, programs, maps, out);
}
