/* userns-enter: the session of the program, and the terminal that a program in a pid namespace shares with our process group. */
#include "programs/userns-enter/enter.h"
#include <linux/signal.h>
#include <sys/stat.h>

#define ESRCH_NUMBER 3
#define EINTR_NUMBER 4
#define SA_RESTORER_FLAG 0x04000000

/*
 * Whether the descriptor is our controlling terminal. TIOCGSID also succeeds on the master of another terminal. Only a
 * character device is queried, because a FUSE server can return anything from ioctl(2); DONT_SYNC does not wait for such a
 * server.
 */
static int is_terminal(long fd)
{
	struct statx answer;
	int number;
	long error = raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, (long)&answer);

	if (error < 0 || (answer.stx_mode & S_IFMT) != S_IFCHR) return 0;
	return raw_syscall3(SYS_ioctl, fd, TIOCGSID, (long)&number) >= 0 &&
	       raw_syscall3(SYS_ioctl, fd, TIOCGPTN, (long)&number) < 0;
}

/* The foreground process group of the terminal; 0: a group outside our pid namespace. */
static long foreground(long terminal)
{
	int group;
	long error = raw_syscall3(SYS_ioctl, terminal, TIOCGPGRP, (long)&group);

	return error < 0 ? error : group;
}

/* With SIGTTOU blocked, a background process group can do this too, tcsetpgrp(3). */
static long give(long terminal, long group)
{
	int number = (int)group;

	return raw_syscall3(SYS_ioctl, terminal, TIOCSPGRP, (long)&number);
}

/*
 * A program that shares a session with the caller could type into its terminal (/dev/tty and TIOCSTI, CVE-2016-10124).
 * So it runs in its own session, unless the caller passes that terminal or keeps the session.
 */
void choose_session(struct plan *plan)
{
	long error;

	plan->terminal = -1;
	for (long fd = 0; fd < plan->first && plan->terminal < 0; fd++) {
		if (is_terminal(fd)) plan->terminal = fd;
	}
	if (plan->terminal >= 0) return;
	if (plan->keep != 0) {
		if (!changes_pids(plan)) return;
		plan->terminal = raw_syscall5(SYS_openat, AT_FDCWD, (long)"/dev/tty",
					      O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0, 0);
		if (plan->terminal < 0 || is_terminal(plan->terminal)) return;
		raw_syscall3(SYS_close, plan->terminal, 0, 0);
		plan->terminal = -1;
		return;
	}
	error = raw_syscall3(SYS_setsid, 0, 0, 0);
	/* EPERM for a session leader: `detached` of child_process made it one. */
	if (error < 0 && !leads_session()) fail(plan, "setsid", error);
}

int leads_session(void)
{
	return raw_syscall3(SYS_getsid, 0, 0, 0) == raw_syscall3(SYS_getpid, 0, 0, 0);
}

/*
 * Our process group has the number 0 inside the pid namespace, where a shell could not return the terminal to it. So the
 * program leads its own group, except if our group is outside our own pid namespace, where this process could not return
 * the terminal to it either.
 */
void begin_job(const struct plan *plan, struct job *job)
{
	job->terminal = -1;
	job->group = raw_syscall3(SYS_getpgid, 0, 0, 0);
	if (plan->terminal < 0 || job->group <= 0) return;
	/* Above 1, because this descriptor becomes 1 when the program has been started. */
	job->terminal = raw_syscall3(SYS_fcntl, plan->terminal, F_DUPFD_CLOEXEC, 3);
	if (job->terminal < 0) fail(plan, "descriptors", job->terminal);
	job->front = foreground(job->terminal) == job->group;
}

/*
 * Runs in the program's process. The program's group is in the foreground from the start if all three standard streams are
 * the terminal. In a pipeline it is only after the first SIGTTIN or SIGTTOU (job_stopped), because another part of the
 * pipeline, such as `less`, needs the terminal too.
 */
void lead_job(const struct job *job)
{
	if (job->terminal < 0) return;
	raw_syscall3(SYS_setpgid, 0, 0, 0);
	if (job->front && is_terminal(0) && is_terminal(1) && is_terminal(2)) {
		give(job->terminal, raw_syscall3(SYS_getpid, 0, 0, 0));
	}
}

static void stop_self(int signal)
{
	set_mask(~(1UL << (signal - 1)));
	raw_syscall3(SYS_kill, raw_syscall3(SYS_getpid, 0, 0, 0), signal, 0);
	set_mask(~0UL);
}

static void do_nothing(int signal)
{
	(void)signal;
}

#if defined(__x86_64__)
void end_handler(void);
/* The signal handler's return, rt_sigreturn(2). arm64 has it in the vDSO. */
__asm__("end_handler:\n\tmov $15, %eax\n\tsyscall\n");
#define HANDLER_FLAGS SA_RESTORER_FLAG
#define HANDLER_END ((unsigned long)end_handler)
#else
#define HANDLER_FLAGS 0
#define HANDLER_END 0
#endif

/*
 * Takes the terminal back like any background process, so that the kernel stops our whole group, members with other IDs
 * included, until a shell continues it. In an orphaned process group, which no shell can continue, the call fails instead
 * (ENOTTY), setpgid(2). A handler for SIGCONT makes the call fail with EINTR; otherwise it would restart, and stop a job that
 * continues in the background.
 */
static long take_as_background(const struct job *job)
{
	unsigned long action[4] = {(unsigned long)do_nothing, HANDLER_FLAGS, HANDLER_END, 0};
	long error;

	raw_syscall5(SYS_rt_sigaction, SIGCONT, (long)action, 0, 8, 0);
	set_mask(~(1UL << (SIGTTOU - 1) | 1UL << (SIGCONT - 1)));
	error = give(job->terminal, job->group);
	set_mask(~0UL);
	set_handler(SIGCONT, 0);
	return error == -EINTR_NUMBER ? 0 : error;
}

void job_stopped(struct job *job, int signal)
{
	int wants = signal == SIGTTIN || signal == SIGTTOU;
	long holder;

	if (job->terminal < 0) {
		/* In its own session, no shell waits for this process to stop, and none would continue it. */
		if (!leads_session()) stop_self(SIGSTOP);
		return;
	}
	holder = foreground(job->terminal);
	if (wants && holder == job->group) {
		job->front = 1;
		give(job->terminal, job->pid);
	} else if (wants || holder == job->pid) {
		if (take_as_background(job) >= 0) {
			job->front = foreground(job->terminal) == job->group;
			if (job->front) give(job->terminal, job->pid);
		} else if (signal == SIGSTOP) {
			return;
		} else if (wants) {
			/* The SIGHUP for an orphaned process group that has stopped members, _exit(2). */
			raw_syscall3(SYS_kill, -job->pid, SIGHUP, 0);
		}
	} else {
		/* SIGTSTP reached our whole group, or this process alone. The kernel ignores it in an orphaned group. */
		stop_self(signal);
		job->front = foreground(job->terminal) == job->group;
	}
	raw_syscall3(SYS_kill, -job->pid, SIGCONT, 0);
}

void end_job(const struct job *job)
{
	long holder;

	if (job->terminal < 0 || !job->front) return;
	holder = foreground(job->terminal);
	if (holder <= 0 || holder == job->group) return;
	/* The program's own group, or one that ended with the namespace. Any other group is another job of the shell. */
	if (holder == job->pid || raw_syscall3(SYS_kill, -holder, 0, 0) == -ESRCH_NUMBER) {
		give(job->terminal, job->group);
	}
}
