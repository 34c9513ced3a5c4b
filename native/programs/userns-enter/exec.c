/* userns-enter: what this process does when it becomes the program. */
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
 * setns(2) gave every capability in the namespace. setresuid(2) takes them away only from who was root there before,
 * which the host's root was not; and execve(2), which takes them from everybody else, looks for the program while they
 * still open root's files and folders inside. So what the IDs inside alone may execute is what is executed.
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
	/* The supervisor keeps its own: it has to reach a program that changes its IDs. */
	if (plan->join != 0 && plan->uid != 0) drop_capabilities(plan);
	fail(plan, "execve", raw_syscall3(SYS_execve, (long)plan->program, (long)plan->argv, (long)plan->envp));
}
