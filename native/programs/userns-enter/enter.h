/* userns-enter: what its rooms share. No C library here, and no privilege: see programs/userns-enter/main.c. */
#ifndef USERNS_ENTER_H
#define USERNS_ENTER_H

#include "kernel/raw-syscall.h"

#define MOST_GROUPS 65536
#define EINVAL_NUMBER 22

/* The arguments, as programs/userns-enter/main.c has them. */
struct plan {
	long first;
	long ns;
	long control; /* −1: standard error */
	long join;
	long unshare;
	long keep;
	long uid;
	long gid;
	const char *groups;
	const char *program;
	char *const *argv;
	char *const *envp;
	long terminal; /* choose_session: the controlling terminal, or negative */
};

/* A program in a pid namespace, and the terminal that it shares with our process group. */
struct job {
	long pid;      /* of the program, and of the group that it leads */
	long terminal; /* negative: there is no terminal, and the program is in our group */
	long group;    /* our own */
	int front;     /* our group is the foreground group, or gave the terminal to the program */
};

/* programs/userns-enter/arguments.c */

int same(const char *a, const char *b);

/* False for arguments that are none of ours. */
int read_plan(struct plan *plan, long argc, char *const *argv);

/* The numbers of the list in `groups`, and how many there are, or −1. */
long read_groups(const char *list, unsigned groups[MOST_GROUPS]);

/* Tells that the program was started by hand. */
void tell_usage(void);

/* Tells which step failed, and ends with the status that env(1) and chroot(1) have for it. */
__attribute__((noreturn)) void fail(const struct plan *plan, const char *step, long error);

/* programs/userns-enter/exec.c */

void set_handler(int signal, long handler);

void set_mask(unsigned long mask);

/* The program, with the IDs inside. */
__attribute__((noreturn)) void execute(const struct plan *plan);

/* programs/userns-enter/terminal.c */

/* Leaves the caller's session, unless its terminal is among the program's descriptors or KEEP is 1. */
void choose_session(struct plan *plan);

int leads_session(void);

/* The first is called before the program's process is made, the second in that process. The caller sets `pid`. */
void begin_job(const struct plan *plan, struct job *job);
void lead_job(const struct job *job);

/* Handles the stop of the program by a signal: gives it the terminal, or stops as a shell expects of a job. */
void job_stopped(struct job *job, int signal);

/* Makes our group the foreground group again, after all processes in the pid namespace have ended. */
void end_job(const struct job *job);

/* programs/userns-enter/init.c */

/* For a new pid or time namespace: the program is a child of this process, which stands for it outside. */
__attribute__((noreturn)) void run_child(const struct plan *plan);

#endif
