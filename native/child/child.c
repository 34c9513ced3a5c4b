#include "child/child.h"
#include "child/cpu-binding.h"
#include "kernel/raw-syscall.h"
#include "kernel/signal-mask.h"
#include <errno.h>
#include <linux/prctl.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * Calls clone3(2) with a separate stack for the child. The child does not return through our frames: it calls `body` at once.
 * Only clone3(2) has CLONE_CLEAR_SIGHAND, the second protection beside the blocked signals: no handler of V8 or libuv may ever
 * run on the child's stack.
 */
static long clone3_call(struct userns_clone_args *arguments, child_body *body, void *argument)
{
#if defined(__x86_64__)
	long result;
	register child_body *r12 __asm__("r12") = body;
	register void *r13 __asm__("r13") = argument;
	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(result)
			 : "a"((long)SYS_clone3), "D"(arguments), "S"(sizeof *arguments), "r"(r12), "r"(r13)
			 : "rcx", "r11", "memory", "cc");
	return result;
#else
	register long x8 __asm__("x8") = SYS_clone3;
	register long x0 __asm__("x0") = (long)arguments;
	register long x1 __asm__("x1") = sizeof *arguments;
	register child_body *x20 __asm__("x20") = body;
	register void *x21 __asm__("x21") = argument;
	__asm__ volatile("svc 0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x21\n\t"
			 "blr x20\n\t"
			 "brk 0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x20), "r"(x21)
			 : "memory", "cc");
	return x0;
#endif
}

static int wait_for(int type, id_t id, siginfo_t *info, int options)
{
	int error;

	do error = waitid((idtype_t)type, id, info, options | WEXITED | __WALL);
	while (error < 0 && errno == EINTR);
	return error < 0 ? -errno : 0;
}

/* For a seccomp filter that allows wait4(2), which libuv uses, and refuses waitid(2). */
static int wait_by_pid(pid_t pid, siginfo_t *info)
{
	int status = 0;
	pid_t found;

	do found = wait4(pid, &status, __WALL, NULL);
	while (found < 0 && errno == EINTR);
	if (found < 0) return -errno;
	info->si_code = WIFEXITED(status) ? CLD_EXITED : CLD_KILLED;
	info->si_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
	return 0;
}

/* Before Linux 5.2 the kernel ignores CLONE_PIDFD. The PID is still the child's, because it is not reaped. */
static int end_without_pidfd(pid_t pid)
{
	siginfo_t info;

	kill(pid, SIGKILL);
	wait_for(P_PID, (id_t)pid, &info, 0);
	return -ENOSYS;
}

static long start_clone3(struct child *child, uint64_t flags, child_body *body, void *argument, int *pidfd)
{
	struct userns_clone_args arguments = {
		.flags = flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = 0, /* no SIGCHLD, because libuv reaps children when it arrives */
		.stack = (uintptr_t)child->stack,
		.stack_size = sizeof child->stack,
	};

	return clone3_call(&arguments, body, argument);
}

static long start_clone(struct child *child, uint64_t flags, child_body *body, void *argument, int *pidfd)
{
	long result = clone(body, child->stack + sizeof child->stack, (int)flags | CLONE_PIDFD, argument, pidfd);

	return result < 0 ? -errno : result;
}

/* The caller has blocked every signal, because the child inherits the mask. */
static int start(struct child *child, uint64_t flags, child_body *body, void *argument, int with_clone3)
{
	int pidfd = -1;

	child->pid = -1;
	child->pidfd = -1;
	child->bound = 0;
	child->parent = getpid();
	long result = with_clone3 ? start_clone3(child, flags, body, argument, &pidfd) : -ENOSYS;
	/* ENOSYS: before Linux 5.3, or a seccomp filter such as Docker's; EINVAL: no CLONE_CLEAR_SIGHAND before 5.5. */
	if (result == -ENOSYS || result == -EINVAL) result = start_clone(child, flags, body, argument, &pidfd);
	if (result < 0) return (int)result;
	if (pidfd < 0) return end_without_pidfd((pid_t)result);
	child->pid = (pid_t)result;
	child->pidfd = pidfd;
	return 0;
}

static int start_blocked(struct child *child, uint64_t flags, child_body *body, void *argument, int with_clone3)
{
	kernel_sigset before;

	signals_block(&before);
	int error = start(child, flags, body, argument, with_clone3);
	signals_set(&before, NULL);
	return error;
}

int child_start(struct child *child, uint64_t flags, child_body *body, void *argument)
{
	return start_blocked(child, flags, body, argument, 1);
}

int child_start_copy(struct child *child, child_body *body, void *argument)
{
	return start_blocked(child, 0, body, argument, 0);
}

int child_start_here(struct child *child, uint64_t flags, child_body *body, void *argument,
		     const struct cpu_binding *cpu)
{
	int error = start(child, flags, body, argument, 1);

	child->bound = error == 0 && cpu->bound;
	return error;
}

NO_STACK_PROTECTOR void child_die_with_parent(const struct child *child)
{
	raw_syscall3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
	/* The parent may have ended before that. 0: it is in a pid namespace that is not visible to the child. */
	long parent = raw_syscall3(SYS_getppid, 0, 0, 0);
	if (parent != child->parent && parent != 0) raw_exit(0);
}

/* Uses SIGALRM, because execve(2) preserves the timer of setitimer(2). */
NO_STACK_PROTECTOR void child_die_after(int milliseconds)
{
	const long action[4] = {(long)SIG_DFL}; /* the child would inherit SIG_IGN */
	const long time[4] = {0, 0, milliseconds / 1000, milliseconds % 1000 * 1000L};
	const kernel_sigset alarm = (kernel_sigset)1 << (SIGALRM - 1);

	raw_syscall5(SYS_rt_sigaction, SIGALRM, (long)action, 0, sizeof alarm, 0);
	raw_syscall5(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&alarm, 0, sizeof alarm, 0);
	raw_syscall3(SYS_setitimer, ITIMER_REAL, (long)time, 0);
}

NO_STACK_PROTECTOR static long duplicate_above(int fd)
{
	return raw_syscall3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
}

NO_STACK_PROTECTOR long child_set_fds(const int *fds, int count)
{
	long above[3];
	long error;

	/* If a standard stream was closed, a descriptor may have a number that another one is copied to below. */
	for (int i = 0; i < count; i++) {
		above[i] = fds[i] < count ? duplicate_above(fds[i]) : fds[i];
		if (above[i] < 0) return above[i];
	}
	for (int i = 0; i < count; i++) {
		error = raw_syscall3(SYS_dup3, above[i], i, 0);
		if (error < 0) return error;
	}
	return raw_syscall3(SYS_close_range, count, ~0U, 0);
}

NO_STACK_PROTECTOR void child_take_signals(void)
{
	kernel_sigset none = 0;

	raw_syscall5(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof none, 0);
}

long child_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int child_has_ended(const struct child *child, int timeout_ms)
{
	struct pollfd poller = {.fd = child->pidfd, .events = POLLIN};
	int ready;

	do ready = poll(&poller, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	return ready != 0; /* an error of poll(2) says nothing about the child: the caller reaps it, which waits for its end */
}

/* The end usually takes microseconds; on a CPU that a real-time task occupies it could take indefinitely. */
#define BOUND_END_TIMEOUT_MS 5

static void unbind(struct child *child)
{
	if (!child_has_ended(child, BOUND_END_TIMEOUT_MS)) cpu_unbind_child(child->pid);
	child->bound = 0;
}

int child_reap(struct child *child)
{
	siginfo_t info = {0};
	/* A bound child has usually ended by now: it shares our CPU, which we yielded. */
	int error = wait_for(USERNS_P_PIDFD, (id_t)child->pidfd, &info, child->bound ? WNOHANG : 0);

	/* It has not ended, or this call cannot say whether it has. */
	if (child->bound && error != -ECHILD && info.si_pid == 0) {
		unbind(child);
		error = wait_for(USERNS_P_PIDFD, (id_t)child->pidfd, &info, 0);
	}
	/* A seccomp filter may allow only P_PID. The PID is the child's until it is reaped; ECHILD: other code has reaped it. */
	if (error < 0 && error != -ECHILD) error = wait_for(P_PID, (id_t)child->pid, &info, 0);
	if (error < 0 && error != -ECHILD) error = wait_by_pid(child->pid, &info);
	close(child->pidfd);
	child->pidfd = -1;
	child->pid = -1;
	if (error < 0) return error;
	return info.si_code == CLD_EXITED ? info.si_status : 256 + info.si_status;
}

void child_kill(const struct child *child)
{
	if (child->pidfd < 0) return;
	if (syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0) >= 0 || errno == ESRCH) return;
	/* A seccomp filter refuses the call. The PID is the child's as long as the child has not ended. */
	if (!child_has_ended(child, 0)) kill(child->pid, SIGKILL);
}

void child_end(struct child *child)
{
	if (child->pidfd < 0) return;
	child_kill(child);
	child_reap(child); /* ECHILD: waitpid(-1, __WALL) of other code has reaped it; the child is gone in either case */
}
