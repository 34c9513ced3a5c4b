/*
 * userns-join: joins the user namespace on descriptor 1, sends its status on descriptor 0, and waits there until it is killed.
 * userns-join new: creates a user namespace instead. Its parent writes the maps meanwhile.
 *
 * Processes in the namespace may trace this process as soon as it has joined, and its uid may still be that of the host's root. So
 * it is a program with nothing secret in its memory, it has no descriptors except these two, and it is not dumpable before it
 * joins. Measured: a process that is not dumpable beforehand was never traced. It has no libc, so that neither a loader nor a library
 * from an environment variable runs before its first instruction.
 */
#include "kernel/raw-syscall.h"
#include <linux/prctl.h>
#include <sys/socket.h>

#define CONTROL 0
#define NAMESPACE 1
#define SIGKILL_NUMBER 9
#define EAGAIN_NUMBER 11
#define EINVAL_NUMBER 22
#define EPIPE_NUMBER 32

/*
 * After this the kernel kills this process when the parent closes its end of the socket or ends. The end of the connection alone
 * does not suffice, because a process of the namespace may stop this one, which then reads nothing; and the parent cannot always
 * send SIGKILL, because setuid(2) may have given it another uid. A POSIX timer would do too, but timer_create(2) counts against
 * RLIMIT_SIGPENDING, which may be 0. SIGKILL does not count against it (__send_signal_locked()).
 */
static long end_with_parent(void)
{
	char end;
	long error = raw_syscall3(SYS_fcntl, CONTROL, F_SETOWN, raw_syscall3(SYS_getpid, 0, 0, 0));

	if (error == 0) error = raw_syscall3(SYS_fcntl, CONTROL, F_SETSIG, SIGKILL_NUMBER);
	if (error == 0) error = raw_syscall3(SYS_fcntl, CONTROL, F_SETFL, O_ASYNC);
	if (error < 0) return error;
	/* A close of the socket before this point caused no signal, so it is checked here. */
	error = raw_syscall5(SYS_recvfrom, CONTROL, (long)&end, 1, MSG_PEEK | MSG_DONTWAIT, 0);
	return error == -EAGAIN_NUMBER ? 0 : -EPIPE_NUMBER;
}

/*
 * Makes an empty directory the root and the working directory of this process. PR_SET_DUMPABLE protects a process only while it has memory.
 * A process that ends loses its memory before its root, and on older kernels root of the namespace may open that root meanwhile, and so
 * leaves its container (measured on Linux 5.10; exit_mm() and __ptrace_may_access() in the kernel). The directory is on a mount of its
 * own, so ".." does not lead out of it, and its entries end with this process. Nothing is changed without CAP_SYS_ADMIN, and under a
 * seccomp filter, because a filter can end this process for one of the calls. A kernel without seccomp answers EINVAL.
 */
static void leave_root(void)
{
	long filter = raw_syscall3(SYS_prctl, PR_GET_SECCOMP, 0, 0);

	if (filter != 0 && filter != -EINVAL_NUMBER) return;
	long fd = raw_syscall3(SYS_open_tree, AT_FDCWD, (long)"/proc/self/fdinfo", USERNS_OPEN_TREE_CLONE | USERNS_OPEN_TREE_CLOEXEC);

	if (fd < 0) return;
	if (raw_syscall3(SYS_fchdir, fd, 0, 0) == 0) raw_syscall3(SYS_chroot, (long)".", 0, 0);
	raw_syscall3(SYS_close, fd, 0, 0);
}

static int enter(int new)
{
	/*
	 * In a new namespace it stays dumpable, because an ordinary caller could not write its maps otherwise. A process that traces
	 * it gains nothing, because it could create the same namespace itself.
	 */
	long error = new ? 0 : raw_syscall3(SYS_prctl, PR_SET_DUMPABLE, 0, 0);

	if (error == 0) error = end_with_parent();
	if (error < 0) return (int)error;
	if (!new) leave_root();
	error = new ? raw_syscall3(SYS_unshare, CLONE_NEWUSER, 0, 0) : raw_syscall3(SYS_setns, NAMESPACE, CLONE_NEWUSER, 0);
	if (error < 0) return (int)error;
	/* commit_creds() clears the death signal when the capabilities change; end_with_parent() still applies. */
	raw_syscall3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL_NUMBER, 0);
	return 0;
}

__attribute__((noreturn, used)) void start_in_c(const long *stack)
{
	int status;
	char end;

	/* The name would be the number of a descriptor, because the add-on executes this program from a file without a path. */
	raw_syscall3(SYS_prctl, PR_SET_NAME, (long)"userns-join", 0);
	status = enter(stack[0] > 1);
	/* If the status cannot be sent, this process ends, which the parent detects. */
	if (raw_syscall3(SYS_write, CONTROL, (long)&status, sizeof status) != sizeof status) raw_exit(0);
	while (status == 0 && raw_syscall3(SYS_read, CONTROL, (long)&end, 1) == -4 /* EINTR */) {
	}
	raw_exit(0);
}

/* The arguments are on the stack. C code needs a 16-byte aligned one, which the psABI guarantees only before a call. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start_in_c\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb start_in_c\n");
#endif
