/* userns-enter: the supervisor of a program in a pid or time namespace, and process 1 of a new pid namespace. */
#include "programs/userns-enter/enter.h"
#include <linux/prctl.h>
#include <linux/signal.h>
#include <poll.h>

#define WNOHANG_WUNTRACED 3

static long start_child(const struct plan *plan)
{
	long pid = raw_syscall5(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid < 0) fail(plan, "fork", pid);
	return pid;
}

/*
 * Sets the name and the command line of this process, which ps(1) prints. The command line is the first text of the arguments' memory if
 * its last byte is not NUL (get_mm_cmdline() in fs/proc/base.c).
 */
static void set_name(const struct plan *plan, const char *name)
{
	char *to = plan->own_name;
	char *last = *plan->argv;

	raw_syscall3(SYS_prctl, PR_SET_NAME, (long)name, 0);
	while ((*to++ = *name++) != '\0') {
	}
	for (char *const *each = plan->argv; *each != 0; each++) last = *each;
	while (*last != '\0') last++;
	*last = '.';
}

/*
 * Process 1 of a pid namespace. It ignores SIGCHLD, so that the kernel reaps orphans. It ends with the supervisor, because the
 * pipe's other end is closed then, and with it every process of the namespace ends.
 */
__attribute__((noreturn)) static void be_init(const struct plan *plan, const int pipe[2])
{
	char nothing;

	set_name(plan, "userns-init");
	set_handler(SIGCHLD, 1);
	raw_syscall3(SYS_dup3, pipe[0], 0, 0);
	raw_syscall3(SYS_close_range, 1, ~0U, 0);
	while (raw_syscall3(SYS_read, 0, (long)&nothing, 1) == -4 /* EINTR */) {
	}
	raw_exit(0);
}

/*
 * Without a process 1 of ours, the program is killed if the supervisor is. getppid(2) cannot show whether that has happened already,
 * because it returns 0 for a parent outside the pid namespace.
 */
static void die_with_supervisor(const int pipe[2])
{
	struct pollfd end = {.fd = pipe[0]};
	long now[2] = {0, 0};

	raw_syscall3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
	raw_syscall3(SYS_close, pipe[1], 0, 0);
	if (raw_syscall5(SYS_ppoll, (long)&end, 1, (long)now, 0, 8) != 0) raw_exit(125);
}

/* Exits with the status of the program, or by the signal that ended it. */
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

/* Waits for the program, passes every signal on, and stops when it stops. Returns its status. */
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

/*
 * A pid namespace, and a new time namespace, apply only to children, so the program runs in a child, and this process represents it
 * outside.
 *
 * 1. Starts process 1 of a new pid namespace.
 * 2. Starts the program.
 * 3. Closes the descriptors, so that a pipe of the program ends when the program closes it.
 * 4. Supervises the program until it ends.
 * 5. Ends process 1, and with it the pid namespace.
 * 6. Takes the terminal back, and exits as the program did.
 */
__attribute__((noreturn)) void run_child(const struct plan *plan)
{
	int pipe[2];
	struct job job = {.terminal = -1};
	long init = 0;
	long status;

	long error = raw_syscall3(SYS_pipe2, (long)pipe, O_CLOEXEC, 0);

	if (error < 0) fail(plan, "pipe", error);
	set_mask(~0UL);
	if ((plan->unshare & CLONE_NEWPID) != 0) {
		init = start_child(plan);
		if (init == 0) be_init(plan, pipe);
	}
	if (changes_pids(plan)) begin_job(plan, &job);
	job.pid = start_child(plan);
	if (job.pid == 0) {
		lead_job(&job);
		if (init == 0) die_with_supervisor(pipe);
		set_mask(0);
		execute(plan);
	}
	set_name(plan, "userns-enter"); /* the texts of the failures are arguments, too */
	/* The program's process does the same, so that the group exists whichever of the two runs first. */
	if (job.terminal >= 0) raw_syscall3(SYS_setpgid, job.pid, job.pid, 0);
	raw_syscall3(SYS_dup3, pipe[1], 0, 0);
	if (job.terminal >= 0) job.terminal = raw_syscall3(SYS_dup3, job.terminal, 1, O_CLOEXEC);
	raw_syscall3(SYS_close_range, job.terminal >= 0 ? 2 : 1, ~0U, 0);
	status = supervise(&job);
	if (init > 0) {
		/* wait4(2) returns only when every process of its namespace has ended. */
		raw_syscall3(SYS_kill, init, SIGKILL, 0);
		while (raw_syscall5(SYS_wait4, init, 0, 0, 0, 0) == -4 /* EINTR */) {
		}
	}
	end_job(&job);
	end_as(status);
}
