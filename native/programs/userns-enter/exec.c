/* userns-enter: the last steps before the program is executed. */
#include "programs/userns-enter/enter.h"
#include <linux/prctl.h>
#include <linux/signal.h>
#include <sys/stat.h>

#define ENOENT_NUMBER 2
#define EACCES_NUMBER 13
#define EXDEV_NUMBER 18
#define ENOTDIR_NUMBER 20

void set_handler(int signal, long handler)
{
	unsigned long action[4] = {(unsigned long)handler, 0, 0, 0};

	raw_syscall5(SYS_rt_sigaction, signal, (long)action, 0, 8, 0);
}

void set_mask(unsigned long mask)
{
	raw_syscall5(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8, 0);
}

/*
 * setns(2) granted every capability in the namespace. setresuid(2) drops them only for a process that was root there before, which
 * the host's root was not; and execve(2), which drops them otherwise, opens the program while they still grant access to root's
 * files. Without them, only a program that the IDs in the namespace may execute is executed.
 */
static void drop_capabilities(const struct plan *plan)
{
	unsigned header[2] = {0x20080522 /* _LINUX_CAPABILITY_VERSION_3 */, 0};
	unsigned none[6] = {0};
	long error = raw_syscall3(SYS_capset, (long)header, (long)none, 0);

	if (error < 0) fail(plan, "capset", error);
}

/* As runc, refuses a directory outside the root, for which getcwd(2) returns "(unreachable)" (CVE-2024-21626). */
static void change_directory(const struct plan *plan)
{
	static char path[4096];
	long error = raw_syscall3(SYS_chdir, (long)plan->directory, 0, 0);

	if (error < 0) fail(plan, "chdir", error);
	error = raw_syscall3(SYS_getcwd, (long)path, sizeof path, 0);
	if (error < 0 || path[0] != '/') fail(plan, "chdir", error < 0 ? error : -EXDEV_NUMBER);
}

/* Whether the file exists. It may be in a directory that the IDs in the namespace may not search. */
static int exists(const char *path)
{
	struct statx answer;

	return raw_syscall5(SYS_statx, AT_FDCWD, (long)path, AT_STATX_DONT_SYNC, STATX_TYPE, (long)&answer) >= 0;
}

/* Executes the first of the paths that can be, as execvp(3). Reports a file that may not be executed if there is no other. */
__attribute__((noreturn)) static void execute_first(const struct plan *plan)
{
	long error = -ENOENT_NUMBER;

	for (long i = 0; i < plan->count; i++) {
		const char *path = plan->programs[i];
		long next = raw_syscall3(SYS_execve, (long)path, (long)plan->argv, (long)plan->envp);
		int goes_on = next == -ENOENT_NUMBER || next == -ENOTDIR_NUMBER || next == -EACCES_NUMBER;

		if (plan->count > 1 && goes_on && (next != -EACCES_NUMBER || !exists(path))) continue;
		if (error == -EACCES_NUMBER && goes_on) continue; /* the first one is reported */
		error = next;
		if (!goes_on) break;
	}
	fail(plan, "execve", error);
}

__attribute__((noreturn)) void execute(const struct plan *plan)
{
	/* The supervisor does not drop them, because it must send signals to a program that has changed its IDs. */
	if (plan->uid != 0) drop_capabilities(plan);
	if (plan->directory[0] != '\0') change_directory(plan);
	if (plan->no_new_privs != 0) {
		long error = raw_syscall5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (error < 0) fail(plan, "no_new_privs", error);
	}
	execute_first(plan);
}
