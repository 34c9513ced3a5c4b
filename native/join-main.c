/*
 * userns-join: joins the user namespace on descriptor 1, says so on descriptor 0 and waits there for the end.
 * userns-join new: the same in a new one, which is given its maps meanwhile.
 *
 * Whoever lives in the namespace may trace this process as soon as it is in, and it may still be the host's root by
 * its uid. So: a program of its own, with nothing in its memory that anybody could want, no descriptor but these two,
 * and not dumpable before it joins. Measured: a joiner of which that holds was never caught. No libc, so that nothing
 * runs before the first line, neither a loader nor a library from an environment variable.
 */
#include "raw.h"
#include <linux/prctl.h>

#define CONTROL 0
#define NAMESPACE 1
#define SIGKILL_NUMBER 9
#define MONOTONIC 1

/* Longer than anybody waits for this process: joiner.c for a word, helper.c for a program. */
#define JOINED_S 11
#define NEW_S 40

/*
 * Who lives in the namespace may stop this process, which then sees no end of the socket; and who started it may not kill it
 * any more when setuid(2) has made him somebody else. SIGKILL of the kernel's own ends it all the same, and needs no leave.
 */
static void end_after(long seconds)
{
	/* struct sigevent and struct itimerspec */
	static const struct {
		long value;
		int signal;
		int notify; /* 0: SIGEV_SIGNAL */
		long rest[6];
	} event = {.signal = SIGKILL_NUMBER};
	const long time[4] = {0, 0, seconds, 0};
	int timer;

	if (raw_syscall3(SYS_timer_create, MONOTONIC, (long)&event, (long)&timer) < 0) return;
	raw_syscall5(SYS_timer_settime, timer, 0, (long)time, 0, 0);
}

static int enter(int new)
{
	/*
	 * In a new namespace it stays dumpable: an ordinary caller could not write its maps otherwise, and who gets hold of
	 * it has what he may have made himself.
	 */
	long error = new ? 0 : raw_syscall3(SYS_prctl, PR_SET_DUMPABLE, 0, 0);

	if (error < 0) return (int)error;
	end_after(new ? NEW_S : JOINED_S);
	error = new ? raw_syscall3(SYS_unshare, CLONE_NEWUSER, 0, 0) : raw_syscall3(SYS_setns, NAMESPACE, CLONE_NEWUSER, 0);
	if (error < 0) return (int)error;
	/* commit_creds() forgets the death signal when the capabilities change; the end of the socket is the other lock. */
	raw_syscall3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL_NUMBER, 0);
	return 0;
}

__attribute__((noreturn, used)) void start_in_c(const long *stack)
{
	int status = enter(stack[0] > 1);
	char end;

	/* Unheard there is nothing to wait for: the end of this process is an answer too, and comes at once. */
	if (raw_syscall3(SYS_write, CONTROL, (long)&status, sizeof status) != sizeof status) raw_exit(0);
	while (status == 0 && raw_syscall3(SYS_read, CONTROL, (long)&end, 1) == -4 /* EINTR */) {
	}
	raw_exit(0);
}

/* The arguments lie on the stack; a 16-byte aligned one for C: the psABI promises it only before a call. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start_in_c\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb start_in_c\n");
#endif
