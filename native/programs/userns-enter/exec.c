/* userns-enter: the last steps before the program is executed. */
#include "programs/userns-enter/enter.h"
#include <linux/signal.h>

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

__attribute__((noreturn)) void execute(const struct plan *plan)
{
	/* The supervisor does not drop them, because it must send signals to a program that has changed its IDs. */
	if (plan->join != 0 && plan->uid != 0) drop_capabilities(plan);
	fail(plan, "execve", raw_syscall3(SYS_execve, (long)plan->program, (long)plan->argv, (long)plan->envp));
}
