/*
 * What the add-on does beside the floor, each call by itself, in a loop: what it costs to be safe. Mean, µs.
 * `extras ROUNDS`.
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
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#define SAFELY (0x01 | 0x02 | 0x08) /* RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH */
#define UNIQUE_MOUNT 0x00004000U /* STATX_MNT_ID_UNIQUE */

static int proc;
static int pidfd;
static char own[16];

static int open_safely(const char *name, uint64_t flags)
{
	struct {
		uint64_t flags, mode, resolve;
	} how = {flags | O_CLOEXEC, 0, SAFELY};

	return (int)syscall(SYS_openat2, proc, name, &how, sizeof how);
}

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

static void open_proc(void)
{
	close(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

static void prove_proc(void)
{
	struct statx answer;

	if (statx(proc, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | UNIQUE_MOUNT, &answer) < 0) die("statx");
}

static void open_process(void)
{
	close(open_safely(own, O_PATH | O_DIRECTORY | O_NOFOLLOW));
}

static void still_there(void)
{
	syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0);
}

static void die_with_parent(void)
{
	int before = 0;

	prctl(PR_GET_PDEATHSIG, &before); /* getting and setting it cost the same */
	syscall(SYS_getppid);
}

static const struct {
	const char *name;
	void (*action)(void);
} extras[] = {
	{"signals blocked and given back", signals},
	{"processors asked for, twice", affinity},
	{"/proc opened and closed", open_proc},
	{"/proc known by its mount", prove_proc},
	{"/proc/PID opened and closed", open_process},
	{"the process still there", still_there},
	{"the child: dies with its parent", die_with_parent},
};

int main(int count, char **words)
{
	int rounds = count == 2 ? atoi(words[1]) : 0;

	if (rounds == 0) return 2;
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	snprintf(own, sizeof own, "%d", (int)getpid());
	printf("{");
	for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
		double start = now();

		for (int j = 0; j < rounds; j++) extras[i].action();
		printf("%s\"%s\":%.2f", i == 0 ? "" : ",", extras[i].name, (now() - start) / rounds);
	}
	printf("}\n");
	return 0;
}
