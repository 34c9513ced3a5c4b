/*
 * userns-enter: joins a user namespace and executes a program in it.
 *
 *   userns-enter FIRST NS CONTROL PROCESS JOIN UNSHARE KEEP PRIVILEGES UID GID GROUPS DIRECTORY TEXTS COUNT PROGRAM… ARGV0 [ARG…]
 *
 * FIRST    the program gets the descriptors below this number, and no other
 * NS       the descriptor of the user namespace; "-", for an answer alone: that of this process
 * CONTROL  a descriptor for the report of a failure, as "STEP ERRNO"; "-": a text of TEXTS is printed
 * PROCESS  the descriptor of a process in that user namespace (pidfd), or "-"
 * JOIN     CLONE_NEW… of the other namespaces of the process to join, or 0
 * UNSHARE  CLONE_NEW… of the namespaces to create besides it, or 0
 * KEEP     1: the program stays in the caller's session; 0: only if its terminal is among the program's descriptors
 * PRIVILEGES  1: execve(2) gives no privilege to the program (PR_SET_NO_NEW_PRIVS)
 * GROUPS   the supplementary groups in the namespace, separated by commas; empty: none; "-": unchanged, but those of the caller are
 *          dropped if it may drop them; "+": those of the caller
 * DIRECTORY  the working directory, in the namespaces of the program; empty: that of this process
 * TEXTS    what is printed for a failure: records of "STEP ERRNO", or STEP for every other errno, a text for standard output and one
 *          for standard error
 * PROGRAM  COUNT paths, in the namespaces of the program: the first that can be executed; one empty path: no program is executed, and
 *          this process answers questions about a file (ask.c)
 *
 * Processes in the namespace may trace this process as soon as it has joined, and its uid may still be that of the host's root
 * (CVE-2016-9962 was of this kind). So it is not dumpable from before it joins until execve(2), when its IDs are those of the
 * namespace. It has no libc, so that neither a loader nor a library from an environment variable runs before its first instruction.
 *
 * It is an ordinary program without privilege: with other arguments it can do only what its caller may do anyway.
 */
#include "programs/userns-enter/enter.h"
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/socket.h>

#define MS_PRIVATE_REC (0x40000 | 0x4000)
#define EPERM_NUMBER 1
#define ESTALE_NUMBER 116
#define OURS 3 /* the descriptors NS, CONTROL and PROCESS */
#define KEEP_GROUPS "+"

static unsigned groups[MOST_GROUPS];

/* Node ignores SIGPIPE, and execve(2) preserves ignored signals. */
static void default_signals(void)
{
	for (int signal = 1; signal <= 64; signal++) set_handler(signal, 0);
	set_mask(0);
}

/* Moves our descriptors to the numbers behind the program's own, and closes every descriptor above. */
static void arrange(struct plan *plan)
{
	long *const ours[] = {&plan->ns, &plan->control, &plan->process};
	long next = plan->first;
	long error;

	/* Duplicates them above their destinations, so that none overwrites another. */
	for (int i = 0; i < OURS; i++) {
		long copy = *ours[i] < 0 ? -1 : raw_syscall3(SYS_fcntl, *ours[i], F_DUPFD_CLOEXEC, plan->first + OURS);

		if (*ours[i] >= 0 && copy < 0) fail(plan, "descriptors", copy);
		*ours[i] = copy;
	}
	for (int i = 0; i < OURS; i++) {
		if (*ours[i] < 0) continue;
		error = raw_syscall3(SYS_dup3, *ours[i], next, O_CLOEXEC);
		if (error < 0) fail(plan, "descriptors", error);
		*ours[i] = next++;
	}
	error = raw_syscall3(SYS_close_range, next, ~0U, 0);
	if (error < 0) fail(plan, "close_range", error);
}

/*
 * Joins the namespaces of a process with one call, because the kernel checks every one of them with the credentials from before the
 * call: an ancestor of the user namespace may own some of them, which a process that has joined it may not join any more. The mount
 * namespace sets the root and the working directory too.
 */
static void join_process(const struct plan *plan)
{
	long error = raw_syscall3(SYS_setns, plan->process, CLONE_NEWUSER | plan->join, 0);

	if (error < 0) fail(plan, "join", error);
	/* The process may have changed its user namespace since the caller has read the maps: EINVAL shows that NS is ours now. */
	error = raw_syscall3(SYS_setns, plan->ns, CLONE_NEWUSER, 0);
	if (error != -EINVAL_NUMBER) fail(plan, "moved", -ESTALE_NUMBER);
}

static void join(const struct plan *plan)
{
	long error;

	if (plan->ns < 0) return;

	/*
	 * If the namespace denies setgroups(2), the caller's supplementary groups can be dropped only now; otherwise the program
	 * could read the files of root's groups. A caller that may not drop them keeps them, which is the purpose of "deny"
	 * (CVE-2014-8989).
	 */
	if (!same(plan->groups, KEEP_GROUPS)) {
		error = raw_syscall3(SYS_setgroups, 0, 0, 0);
		if (error < 0 && error != -EPERM_NUMBER) fail(plan, "setgroups", error);
	}
	if (plan->join != 0) {
		join_process(plan);
		return;
	}
	error = raw_syscall3(SYS_setns, plan->ns, CLONE_NEWUSER, 0);
	if (error < 0) fail(plan, "setns", error);
}

/* The loopback device of a new network namespace is down, and then even 127.0.0.1 cannot be reached. */
static void bring_loopback_up(const struct plan *plan)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	long fd = raw_syscall3(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	long error = fd < 0 ? fd : raw_syscall3(SYS_ioctl, fd, SIOCSIFFLAGS, (long)&request);

	if (error < 0) fail(plan, "loopback", error);
	raw_syscall3(SYS_close, fd, 0, 0);
}

static void separate(const struct plan *plan)
{
	long error = raw_syscall3(SYS_unshare, plan->unshare, 0, 0);

	if (error < 0) fail(plan, "unshare", error);
	if ((plan->unshare & CLONE_NEWNET) != 0) bring_loopback_up(plan);
	if ((plan->unshare & CLONE_NEWNS) == 0) return;
	/* As unshare(1) does: mounts propagate neither out of the new mount namespace nor into it. */
	error = raw_syscall5(SYS_mount, 0, (long)"/", 0, MS_PRIVATE_REC, 0);
	if (error < 0) fail(plan, "mount", error);
}

static void become(const struct plan *plan)
{
	long error;

	if (!same(plan->groups, "-") && !same(plan->groups, KEEP_GROUPS)) {
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
 * 4. Joins the namespaces, creates the other ones, and changes the IDs.
 * 5. Answers, or executes the program in its working directory; with a pid namespace or a new time namespace, in a child.
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
	if (asks(&plan)) tell_before(&plan);
	join(&plan);
	raw_syscall3(SYS_close, plan.ns, 0, 0);
	if (plan.process >= 0) raw_syscall3(SYS_close, plan.process, 0, 0);
	if (plan.unshare != 0) separate(&plan);
	become(&plan);
	if (asks(&plan)) answer(&plan);
	if (changes_pids(&plan) || (plan.unshare & USERNS_CLONE_NEWTIME) != 0) run_child(&plan);
	execute(&plan);
}

/* The arguments are on the stack. C code needs a 16-byte aligned one, which the psABI guarantees only before a call. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start_in_c\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb start_in_c\n");
#endif
