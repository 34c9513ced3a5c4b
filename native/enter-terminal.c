/* userns-enter: the session of the program, and the terminal that a program in a pid namespace shares with others. */
#include "enter.h"
#include <linux/signal.h>
#include <sys/stat.h>

#define ESRCH_NUMBER 3
#define EINTR_NUMBER 4
#define SA_RESTORER_FLAG 0x04000000

/*
 * Whether the descriptor is our controlling terminal. TIOCGSID answers for the master of another one too. Nothing but a
 * character device is asked, since a FUSE server answers ioctl(2) as it likes, and DONT_SYNC does not wait for one.
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

/* The process group that the terminal is with; 0: one outside our pid namespace. */
static long foreground(long terminal)
{
	int group;
	long error = raw_syscall3(SYS_ioctl, terminal, TIOCGPGRP, (long)&group);

	return error < 0 ? error : group;
}

/* With SIGTTOU blocked the kernel lets a group in the background do this too, tcsetpgrp(3). */
static long give(long terminal, long group)
{
	int number = (int)group;

	return raw_syscall3(SYS_ioctl, terminal, TIOCSPGRP, (long)&number);
}

/*
 * A program that shares a session with the caller could type into its terminal (/dev/tty and TIOCSTI, CVE-2016-10124).
 * So it has its own, unless the caller hands over that very terminal or keeps the session.
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
		if ((plan->unshare & CLONE_NEWPID) == 0) return;
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
 * Our process group has the number 0 inside the pid namespace, where a shell could not give the terminal back to it. So
 * the program leads one of its own. Not where our group is outside our own pid namespace: we could not name it either.
 */
void begin_job(const struct plan *plan, struct job *job)
{
	job->terminal = -1;
	job->group = raw_syscall3(SYS_getpgid, 0, 0, 0);
	if (plan->terminal < 0 || job->group <= 0) return;
	/* Above 1, which it becomes when the program has been started. */
	job->terminal = raw_syscall3(SYS_fcntl, plan->terminal, F_DUPFD_CLOEXEC, 3);
	if (job->terminal < 0) fail(plan, "descriptors", job->terminal);
	job->front = foreground(job->terminal) == job->group;
}

/*
 * In the program's process. It has the terminal from its first instruction on if all three standard streams are that;
 * as a part of a pipeline only when it asks (job_stopped), since `less` behind it needs the terminal too.
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
/* rt_sigreturn(2). arm64 has it in the vDSO. */
__asm__("end_handler:\n\tmov $15, %eax\n\tsyscall\n");
#define HANDLER_FLAGS SA_RESTORER_FLAG
#define HANDLER_END ((unsigned long)end_handler)
#else
#define HANDLER_FLAGS 0
#define HANDLER_END 0
#endif

/*
 * Takes the terminal back as a process in the background would, so that the kernel stops our whole group, members with
 * other IDs too, until a shell continues it; where no shell could, it refuses (ENOTTY), setpgid(2). With a handler for
 * SIGCONT the call ends then (EINTR); otherwise it would begin again, and stop a job that goes on in the background.
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
		/* In a session of its own no shell waits for us to stop, or would continue us. */
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
			/* The end of a process group that nobody could continue, _exit(2). */
			raw_syscall3(SYS_kill, -job->pid, SIGHUP, 0);
		}
	} else {
		/* SIGTSTP reached all of our group, or us alone. In a group without a shell the kernel ignores it. */
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
	/* The program's own group, or one that ended with the namespace. Any other is somebody else's job. */
	if (holder == job->pid || raw_syscall3(SYS_kill, -holder, 0, 0) == -ESRCH_NUMBER) {
		give(job->terminal, job->group);
	}
}
