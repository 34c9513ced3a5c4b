/* userns-enter: the processes that stand for the program, outside and as process 1 inside. */
#include "programs/userns-enter/enter.h"
#include <linux/prctl.h>
#include <linux/signal.h>

#define WNOHANG_WUNTRACED 3

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

/*
 * Passes a signal on to the program. The kernel's signals reach our whole process group, so they are passed on only if the
 * program leads another group.
 */
static void pass_on(const struct job *job, int signal, int from_kernel)
{
	if (!from_kernel) {
		raw_syscall3(SYS_kill, job->pid, signal, 0);
	} else if (job->terminal >= 0 && signal != SIGTTIN && signal != SIGTTOU) {
		raw_syscall3(SYS_kill, -job->pid, signal, 0);
	}
}

/* Waits for the program, hands on every signal, stops when it stops. */
static long supervise(struct job *job)
{
	unsigned long all = ~0UL;
	int info[32];

	for (;;) {
		int status = 0;
		long signal = raw_syscall5(SYS_rt_sigtimedwait, (long)&all, (long)info, 0, 8, 0);

		if (signal == SIGCHLD) {
			while (raw_syscall5(SYS_wait4, job->pid, (long)&status, WNOHANG_WUNTRACED, 0, 0) == job->pid) {
				if ((status & 0xff) != 0x7f) return status;
				job_stopped(job, status >> 8 & 0xff);
			}
		} else if (signal > 0) {
			pass_on(job, (int)signal, info[2] == 0x80 /* SI_KERNEL */);
		}
	}
}

/* A new pid or time namespace is only for children, so the program is one, and this process stands for it outside. */
__attribute__((noreturn)) void run_child(const struct plan *plan)
{
	int pipe[2];
	struct job job = {.terminal = -1};
	long init = 0;
	long self = raw_syscall3(SYS_getpid, 0, 0, 0);
	long status;

	long error = raw_syscall3(SYS_pipe2, (long)pipe, O_CLOEXEC, 0);

	if (error < 0) fail(plan, "pipe", error);
	set_mask(~0UL);
	if ((plan->unshare & CLONE_NEWPID) != 0) {
		init = start_child(plan);
		if (init == 0) be_init(pipe);
	}
	if (init > 0) begin_job(plan, &job);
	job.pid = start_child(plan);
	if (job.pid == 0) {
		lead_job(&job);
		if (init == 0) {
			raw_syscall3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
			if (raw_syscall3(SYS_getppid, 0, 0, 0) != self) raw_exit(125);
		}
		set_mask(0);
		execute(plan);
	}
	/* The program itself does the same, so that no signal to its group is lost whichever of the two runs first. */
	if (job.terminal >= 0) raw_syscall3(SYS_setpgid, job.pid, job.pid, 0);
	/* The program's pipes must end when it closes them, and not only when we do. */
	raw_syscall3(SYS_dup3, pipe[1], 0, 0);
	if (job.terminal >= 0) job.terminal = raw_syscall3(SYS_dup3, job.terminal, 1, O_CLOEXEC);
	raw_syscall3(SYS_close_range, job.terminal >= 0 ? 2 : 1, ~0U, 0);
	status = supervise(&job);
	if (init > 0) {
		/* The kernel lets it go only when everything in its namespace is gone. */
		raw_syscall3(SYS_kill, init, SIGKILL, 0);
		while (raw_syscall5(SYS_wait4, init, 0, 0, 0, 0) == -4 /* EINTR */) {
		}
	}
	end_job(&job);
	end_as(status);
}
