/*
 * The system calls of the add-on that the floor does without, because they are for safety: each in its own loop. Mean,
 * µs. `extras ROUNDS`.
 */
#include "measure.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define UNIQUE_MOUNT 0x00004000U /* STATX_MNT_ID_UNIQUE */

static int process;
static int pidfd;
static char own[24];

static void signals(void)
{
	sigset_t all;
	sigset_t before;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void affinity(void)
{
	cpu_set_t mask;

	sched_getaffinity(0, sizeof mask, &mask);
	sched_getaffinity(0, sizeof mask, &mask);
}

static void open_process(void)
{
	close(open(own, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

static void prove_mount(void)
{
	struct statx answer;

	if (statx(process, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, UNIQUE_MOUNT, &answer) < 0) die("statx");
}

static void still_there(void)
{
	syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0);
}

static void die_with_parent(void)
{
	int before = 0;

	prctl(PR_GET_PDEATHSIG, &before); /* takes as long as PR_SET_PDEATHSIG */
	syscall(SYS_getppid);
}

static const struct {
	const char *name;
	void (*action)(void);
} extras[] = {
	{"signals blocked and restored", signals},
	{"CPU affinity read, twice", affinity},
	{"/proc/PID opened and closed", open_process},
	{"/proc identified by its mount", prove_mount},
	{"the process still exists", still_there},
	{"in the child: ends with its parent", die_with_parent},
};

int main(int count, char **words)
{
	int rounds = count == 2 ? atoi(words[1]) : 0;

	if (rounds == 0) return 2;
	snprintf(own, sizeof own, "/proc/%d", (int)getpid());
	process = open(own, O_PATH | O_DIRECTORY | O_CLOEXEC);
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	printf("{");
	for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
		double start = now();

		for (int j = 0; j < rounds; j++) extras[i].action();
		printf("%s\"%s\":%.2f", i == 0 ? "" : ",", extras[i].name, (now() - start) / rounds);
	}
	printf("}\n");
	return 0;
}
