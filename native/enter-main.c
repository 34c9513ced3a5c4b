/*
 * userns-enter: joins a user namespace and executes a program in it.
 *
 *   userns-enter FIRST NS CONTROL JOIN UNSHARE UID GID GROUPS PROGRAM ARGV0 [ARG…]
 *
 * FIRST    the program gets the descriptors below this number, and no other
 * NS       the descriptor of the user namespace
 * CONTROL  a descriptor to tell a failure on, as "STEP ERRNO"; "-": in words on standard error
 * JOIN     1; or 0: this process lives in that namespace already
 * UNSHARE  CLONE_NEW… of the namespaces to make beside it, or 0
 * GROUPS   the supplementary groups inside, divided by commas; empty: none; "-": as they are
 *
 * Whoever lives in the namespace may trace this process as soon as it is in, and it may still be the host's root by
 * its uid (CVE-2016-9962 was of this kind). So it is not dumpable before it joins, and stays so until execve, when its
 * IDs are those of the namespace. No libc, so that nothing runs before the first line, neither a loader nor a library
 * from an environment variable.
 *
 * It is an ordinary program without privilege of its own: who calls it with other arguments gets what he may anyway.
 */
#include "raw.h"
#include <linux/prctl.h>
#include <linux/signal.h>

#define PLAN 10 /* arguments before those of the program */
#define MOST_GROUPS 65536
#define MS_PRIVATE_REC (0x40000 | 0x4000)
#define WNOHANG_WUNTRACED 3
#define EPERM_NUMBER 1
#define EINVAL_NUMBER 22

struct plan {
	long first;
	long ns;
	long control; /* −1: standard error */
	long join;
	long unshare;
	long uid;
	long gid;
	const char *groups;
	const char *program;
	char *const *argv;
	char *const *envp;
};

static unsigned groups[MOST_GROUPS];

static long length_of(const char *text)
{
	long length = 0;

	while (text[length] != '\0') length++;
	return length;
}

static int same(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Copies the text to `to` and answers the place behind it. */
static char *append(char *to, char *end, const char *text)
{
	while (*text != '\0' && to < end) *to++ = *text++;
	return to;
}

static char *append_number(char *to, char *end, long number)
{
	char digits[24];
	int at = sizeof digits - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	return append(to, end, digits + at);
}

static const char *name_of(long error)
{
	static const struct {
		int number;
		const char *name;
	} names[] = {
		{1, "EPERM (operation not permitted)"},   {2, "ENOENT (no such file, or its interpreter is missing)"},
		{7, "E2BIG (the arguments are too long)"}, {8, "ENOEXEC (not a program: does a #! line lack?)"},
		{11, "EAGAIN (too many processes)"},       {12, "ENOMEM (not enough memory)"},
		{13, "EACCES (permission denied, by the IDs inside)"},
		{20, "ENOTDIR (not a directory)"},         {22, "EINVAL (invalid argument)"},
		{26, "ETXTBSY (the program is being written)"},
		{28, "ENOSPC (a limit in /proc/sys/user is reached)"}, {40, "ELOOP (too many symbolic links)"},
	};

	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (names[i].number == error) return names[i].name;
	}
	return (const char *)0;
}

/* Tells which step failed, and ends with the status that env(1) and chroot(1) have for it. */
__attribute__((noreturn)) static void fail(const struct plan *plan, const char *step, long error)
{
	char text[4096 + 512];
	char *end = text + sizeof text;
	char *to = text;
	const char *name = name_of(-error);

	if (plan->control >= 0) {
		to = append(to, end, step);
		to = append(to, end, " ");
		to = append_number(to, end, -error);
	} else {
		to = append(to, end, "userns: cannot run ");
		to = append(to, end, plan->program);
		to = append(to, end, " in the user namespace: ");
		to = append(to, end, step);
		to = append(to, end, ": ");
		if (name != (const char *)0) to = append(to, end, name);
		else to = append_number(append(to, end, "errno "), end, -error);
		to = append(to, end, "\n");
	}
	raw_syscall3(SYS_write, plan->control >= 0 ? plan->control : 2, (long)text, to - text);
	raw_exit(!same(step, "execve") ? 125 : error == -2 ? 127 : 126);
}

/* Decimal digits to the end of the text. False for anything else, and past 2^32 − 1. */
static int read_number(const char *text, long *number)
{
	*number = 0;
	if (*text == '\0') return 0;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9') return 0;
		*number = *number * 10 + (*text - '0');
		if (*number > 0xffffffffL) return 0;
	}
	return 1;
}

/* The numbers of the list in `groups`, or −1. */
static long read_groups(const char *list)
{
	long count = 0;

	if (*list == '\0') return 0;
	for (;;) {
		long number = 0;
		int digits = 0;

		for (; *list >= '0' && *list <= '9'; list++, digits++) {
			number = number * 10 + (*list - '0');
			if (number > 0xffffffffL) return -1;
		}
		if (digits == 0 || count == MOST_GROUPS) return -1;
		groups[count++] = (unsigned)number;
		if (*list == '\0') return count;
		if (*list++ != ',') return -1;
	}
}

static int read_plan(struct plan *plan, long argc, char *const *argv)
{
	if (argc <= PLAN) return 0;
	plan->control = -1;
	plan->groups = argv[8];
	plan->program = argv[9];
	plan->argv = argv + PLAN;
	return read_number(argv[1], &plan->first) && read_number(argv[2], &plan->ns) &&
	       (same(argv[3], "-") || read_number(argv[3], &plan->control)) && read_number(argv[4], &plan->join) &&
	       read_number(argv[5], &plan->unshare) && read_number(argv[6], &plan->uid) &&
	       read_number(argv[7], &plan->gid);
}

static void set_handler(int signal, long handler)
{
	unsigned long action[4] = {(unsigned long)handler, 0, 0, 0};

	raw_syscall5(SYS_rt_sigaction, signal, (long)action, 0, 8, 0);
}

static void set_mask(unsigned long mask)
{
	raw_syscall5(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8, 0);
}

/* Node ignores SIGPIPE, and what is ignored would stay so in the program. */
static void default_signals(void)
{
	for (int signal = 1; signal <= 64; signal++) set_handler(signal, 0);
	set_mask(0);
}

/* Namespace and control pipe become the two descriptors behind the program's own; everything above is closed. */
static void arrange(struct plan *plan)
{
	long error;

	/* Above every number that is a destination below, so that neither overwrites the other. */
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
	 * Where the namespace denies setgroups, this is the last moment to lose the caller's supplementary groups, root's
	 * among them; otherwise a program inside would read what they may read. Who may not, keeps them: that is what
	 * "deny" is there for (CVE-2014-8989).
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
	/* As unshare(1) does it: no mount made inside is seen outside, nor the other way. */
	error = raw_syscall5(SYS_mount, 0, (long)"/", 0, MS_PRIVATE_REC, 0);
	if (error < 0) fail(plan, "mount", error);
}

static void become(const struct plan *plan)
{
	long error;

	if (!same(plan->groups, "-")) {
		long count = read_groups(plan->groups);

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

__attribute__((noreturn)) static void execute(const struct plan *plan)
{
	/* The supervisor keeps its own: it has to reach a program that changes its IDs. */
	if (plan->join != 0 && plan->uid != 0) drop_capabilities(plan);
	fail(plan, "execve", raw_syscall3(SYS_execve, (long)plan->program, (long)plan->argv, (long)plan->envp));
}

static long start_child(const struct plan *plan)
{
	long pid = raw_syscall5(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid < 0) fail(plan, "fork", pid);
	return pid;
}

/*
 * Process 1 of a pid namespace. It lets the kernel reap what is left to it, and ends, with all that lives in the
 * namespace, when the supervisor does: then nobody holds the pipe's other end any more.
 */
__attribute__((noreturn)) static void be_init(const int pipe[2])
{
	char nothing;

	set_handler(SIGCHLD, 1);
	raw_syscall3(SYS_dup3, pipe[0], 0, 0);
	raw_syscall3(SYS_close_range, 1, ~0U, 0);
	while (raw_syscall3(SYS_read, 0, (long)&nothing, 1) == -4 /* EINTR */) {
	}
	raw_exit(0);
}

/* Ends as the program has ended. */
__attribute__((noreturn)) static void end_as(long status)
{
	int signal = (int)(status & 0x7f);

	if (signal != 0) {
		set_handler(signal, 0);
		set_mask(0);
		raw_syscall3(SYS_kill, raw_syscall3(SYS_getpid, 0, 0, 0), signal, 0);
	}
	raw_exit(signal != 0 ? 128 + signal : (int)(status >> 8 & 0xff));
}

/* Waits for the program, hands on every signal, stops when it stops. */
static long supervise(long pid)
{
	unsigned long all = ~0UL;
	int info[32];

	for (;;) {
		int status = 0;
		long signal = raw_syscall5(SYS_rt_sigtimedwait, (long)&all, (long)info, 0, 8, 0);

		if (signal == SIGCHLD) {
			while (raw_syscall5(SYS_wait4, pid, (long)&status, WNOHANG_WUNTRACED, 0, 0) == pid) {
				if ((status & 0xff) != 0x7f) return status;
				raw_syscall3(SYS_kill, raw_syscall3(SYS_getpid, 0, 0, 0), SIGSTOP, 0);
			}
		} else if (signal > 0 && info[2] != 0x80 /* SI_KERNEL: the terminal sent it to the program too */) {
			raw_syscall3(SYS_kill, pid, signal, 0);
		}
	}
}

/* A new pid or time namespace is only for children, so the program is one, and this process stands for it outside. */
__attribute__((noreturn)) static void run_child(const struct plan *plan)
{
	int pipe[2];
	long init = 0;
	long self = raw_syscall3(SYS_getpid, 0, 0, 0);
	long pid;
	long status;

	long error = raw_syscall3(SYS_pipe2, (long)pipe, O_CLOEXEC, 0);

	if (error < 0) fail(plan, "pipe", error);
	set_mask(~0UL);
	if ((plan->unshare & CLONE_NEWPID) != 0) {
		init = start_child(plan);
		if (init == 0) be_init(pipe);
	}
	pid = start_child(plan);
	if (pid == 0) {
		if (init == 0) {
			raw_syscall3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
			if (raw_syscall3(SYS_getppid, 0, 0, 0) != self) raw_exit(125);
		}
		set_mask(0);
		execute(plan);
	}
	/* The program's pipes must end when it closes them, and not only when we do. */
	raw_syscall3(SYS_dup3, pipe[1], 0, 0);
	raw_syscall3(SYS_close_range, 1, ~0U, 0);
	status = supervise(pid);
	if (init > 0) {
		/* The kernel lets it go only when everything in its namespace is gone. */
		raw_syscall3(SYS_kill, init, SIGKILL, 0);
		while (raw_syscall5(SYS_wait4, init, 0, 0, 0, 0) == -4 /* EINTR */) {
		}
	}
	end_as(status);
}

__attribute__((noreturn, used)) void start_in_c(long *stack)
{
	static const char usage[] = "userns-enter is started by the package userns, not by hand.\n";
	struct plan plan;
	long error = raw_syscall3(SYS_prctl, PR_SET_DUMPABLE, 0, 0);

	plan.envp = (char *const *)(stack + 1 + stack[0] + 1);
	if (!read_plan(&plan, stack[0], (char *const *)(stack + 1))) {
		raw_syscall3(SYS_write, 2, (long)usage, length_of(usage));
		raw_exit(2);
	}
	if (error < 0) fail(&plan, "prctl", error);
	default_signals();
	arrange(&plan);
	if (plan.join != 0) join(&plan);
	raw_syscall3(SYS_close, plan.ns, 0, 0);
	if (plan.unshare != 0) separate(&plan);
	become(&plan);
	if ((plan.unshare & (CLONE_NEWPID | USERNS_CLONE_NEWTIME)) != 0) run_child(&plan);
	execute(&plan);
}

/* The arguments lie on the stack; a 16-byte aligned one for C: the psABI promises it only before a call. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start_in_c\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb start_in_c\n");
#endif
