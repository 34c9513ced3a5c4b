/*
 * userns-enter: joins a user namespace and executes a program in it.
 *
 *   userns-enter FIRST NS CONTROL JOIN UNSHARE KEEP UID GID GROUPS PROGRAM ARGV0 [ARG…]
 *
 * FIRST    the program gets the descriptors below this number, and no other
 * NS       the descriptor of the user namespace
 * CONTROL  a descriptor for the report of a failure, as "STEP ERRNO"; "-": a message on standard error
 * JOIN     1; 0: this process is in that namespace already
 * UNSHARE  CLONE_NEW… of the namespaces to create besides it, or 0
 * KEEP     1: the program stays in the caller's session; 0: only if its terminal is among the program's descriptors
 * GROUPS   the supplementary groups in the namespace, separated by commas; empty: none; "-": unchanged
 *
 * Processes in the namespace may trace this process as soon as it has joined, and its uid may still be that of the host's root
 * (CVE-2016-9962 was of this kind). So it is not dumpable from before it joins until execve(2), when its IDs are those of the
 * namespace. It has no libc, so that neither a loader nor a library from an environment variable runs before its first instruction.
 *
 * It is an ordinary program without privilege: with other arguments it can do only what its caller may do anyway.
 */
#include "programs/userns-enter/enter.h"
#include <linux/prctl.h>

#define MS_PRIVATE_REC (0x40000 | 0x4000)
#define EPERM_NUMBER 1

static unsigned groups[MOST_GROUPS];

/* Node ignores SIGPIPE, and execve(2) preserves ignored signals. */
static void default_signals(void)
{
	for (int signal = 1; signal <= 64; signal++) set_handler(signal, 0);
	set_mask(0);
}

/* Moves the namespace and the control pipe to the two descriptors behind the program's own, and closes every descriptor above. */
static void arrange(struct plan *plan)
{
	long error;

	/* Duplicates them above both destinations, so that neither overwrites the other. */
	long ns = raw_syscall3(SYS_fcntl, plan->ns, F_DUPFD_CLOEXEC, plan->first + 2);
	long control = plan->control < 0 ? -1 : raw_syscall3(SYS_fcntl, plan->control, F_DUPFD_CLOEXEC, plan->first + 2);

	if (ns < 0) fail(plan, "descriptors", ns);
	if (plan->control >= 0 && control < 0) fail(plan, "descriptors", control);
	error = raw_syscall3(SYS_dup3, ns, plan->first, O_CLOEXEC);
	if (error < 0) fail(plan, "descriptors", error);
	plan->ns = plan->first;
	if (control >= 0) {
		error = raw_syscall3(SYS_dup3, control, plan->first + 1, O_CLOEXEC);
		if (error < 0) fail(plan, "descriptors", error);
		plan->control = plan->first + 1;
	}
	error = raw_syscall3(SYS_close_range, plan->first + (control >= 0 ? 2 : 1), ~0U, 0);
	if (error < 0) fail(plan, "close_range", error);
}

static void join(const struct plan *plan)
{
	long error;

	/*
	 * If the namespace denies setgroups(2), the caller's supplementary groups can be dropped only now; otherwise the program
	 * could read the files of root's groups. A caller that may not drop them keeps them, which is the purpose of "deny"
	 * (CVE-2014-8989).
	 */
	error = raw_syscall3(SYS_setgroups, 0, 0, 0);
	if (error < 0 && error != -EPERM_NUMBER) fail(plan, "setgroups", error);
	error = raw_syscall3(SYS_setns, plan->ns, CLONE_NEWUSER, 0);
	if (error < 0) fail(plan, "setns", error);
}

static void separate(const struct plan *plan)
{
	long error = raw_syscall3(SYS_unshare, plan->unshare, 0, 0);

	if (error < 0) fail(plan, "unshare", error);
	if ((plan->unshare & CLONE_NEWNS) == 0) return;
	/* As unshare(1) does: mounts propagate neither out of the new mount namespace nor into it. */
	error = raw_syscall5(SYS_mount, 0, (long)"/", 0, MS_PRIVATE_REC, 0);
	if (error < 0) fail(plan, "mount", error);
}

static void become(const struct plan *plan)
{
	long error;

	if (!same(plan->groups, "-")) {
		long count = read_groups(plan->groups, groups);

		if (count < 0) fail(plan, "setgroups", -EINVAL_NUMBER);
		error = raw_syscall3(SYS_setgroups, count, (long)groups, 0);
		if (error < 0) fail(plan, "setgroups", error);
	}
	error = raw_syscall3(SYS_setresgid, plan->gid, plan->gid, plan->gid);
	if (error < 0) fail(plan, "setgid", error);
	error = raw_syscall3(SYS_setresuid, plan->uid, plan->uid, plan->uid);
	if (error < 0) fail(plan, "setuid", error);
}

/*
 * 1. Makes this process not dumpable.
 * 2. Sets every signal to its default, and arranges the descriptors.
 * 3. Chooses the session, which must happen while /dev/tty is the caller's.
 * 4. Joins the namespace, creates the other ones, and changes the IDs.
 * 5. Executes the program; with a new pid or time namespace, in a child.
 */
__attribute__((noreturn, used)) void start_in_c(long *stack)
{
	struct plan plan;
	long error = raw_syscall3(SYS_prctl, PR_SET_DUMPABLE, 0, 0);

	/* The name would be the number of a descriptor, because the add-on executes this program from a file without a path. */
	raw_syscall3(SYS_prctl, PR_SET_NAME, (long)"userns-enter", 0);
	plan.envp = (char *const *)(stack + 1 + stack[0] + 1);
	if (!read_plan(&plan, stack[0], (char *const *)(stack + 1))) {
		print_usage();
		raw_exit(2);
	}
	if (error < 0) fail(&plan, "prctl", error);
	default_signals();
	arrange(&plan);
	choose_session(&plan);
	if (plan.join != 0) join(&plan);
	raw_syscall3(SYS_close, plan.ns, 0, 0);
	if (plan.unshare != 0) separate(&plan);
	become(&plan);
	if ((plan.unshare & (CLONE_NEWPID | USERNS_CLONE_NEWTIME)) != 0) run_child(&plan);
	execute(&plan);
}

/* The arguments are on the stack. C code needs a 16-byte aligned one, which the psABI guarantees only before a call. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start_in_c\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb start_in_c\n");
#endif
