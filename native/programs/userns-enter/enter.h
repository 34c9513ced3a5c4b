/* userns-enter: the declarations that its files share. See programs/userns-enter/main.c for what must never happen here. */
#ifndef USERNS_ENTER_H
#define USERNS_ENTER_H

#include "kernel/raw-syscall.h"

#define MOST_GROUPS 65536
#define EINVAL_NUMBER 22

/* The arguments, see programs/userns-enter/main.c. */
struct plan {
	char *own_name; /* argv[0] of this program */
	long first;
	long ns;
	long control; /* −1: a failure is printed */
	long process; /* −1: none */
	long join;
	long unshare;
	long keep;
	long no_new_privs;
	long uid;
	long gid;
	const char *groups;
	const char *directory;
	const char *texts;
	char *const *programs;
	long count; /* of the programs */
	char *const *argv;
	char *const *envp;
	long terminal; /* the controlling terminal, set by choose_session(), or negative */
};

/* Whether the program is in another pid namespace than this process. */
static inline int changes_pids(const struct plan *plan)
{
	return ((plan->join | plan->unshare) & CLONE_NEWPID) != 0;
}

/* A program in a pid namespace, and the terminal that it shares with our process group. */
struct job {
	long pid;      /* of the program, and of the group that it leads */
	long terminal; /* negative: there is no terminal, and the program is in our group */
	long group;    /* our own */
	int front;     /* our group is the foreground group, or has given the terminal to the program */
};

/* programs/userns-enter/arguments.c */

int same(const char *a, const char *b);

/* Reads the arguments. Returns 0 if they are not those of this package. */
int read_plan(struct plan *plan, long argc, char *const *argv);

/* Stores the numbers of the list in `groups`, and returns their count, or −1. */
long read_groups(const char *list, unsigned groups[MOST_GROUPS]);

/* Copies a text or a decimal number to `to`, and returns the address after it. */
char *append(char *to, char *end, const char *text);
char *append_number(char *to, char *end, long number);

/* Parses a decimal number. Returns 0 for any other text, and for numbers above 2^32 − 1. */
int read_number(const char *text, long *number);

/* Prints that the package starts this program. */
void print_usage(void);

/* Reports the step that failed, and exits with the status that env(1) and chroot(1) use for it. */
__attribute__((noreturn)) void fail(const struct plan *plan, const char *step, long error);

/* programs/userns-enter/exec.c */

void set_handler(int signal, long handler);

void set_mask(unsigned long mask);

/* Executes the program with the IDs of the namespace. */
__attribute__((noreturn)) void execute(const struct plan *plan);

/* programs/userns-enter/ask.c */

/* Whether the program is an answer of this process, for explain(). */
int asks(const struct plan *plan);

/* Writes what the caller sees of the file. Called before this process joins a namespace. */
void tell_before(const struct plan *plan);

/* Writes what the IDs of this process may do with the file, and exits. */
__attribute__((noreturn)) void answer(const struct plan *plan);

/* programs/userns-enter/terminal.c */

/* Leaves the caller's session, unless its terminal is among the program's descriptors or KEEP is 1. */
void choose_session(struct plan *plan);

int leads_session(void);

/* begin_job() is called before the program's process is started, lead_job() in that process. The caller sets `pid`. */
void begin_job(const struct plan *plan, struct job *job);
void lead_job(const struct job *job);

/* Handles a program that a signal has stopped: gives it the terminal, or stops this process as a shell expects of a job. */
void job_stopped(struct job *job, int signal);

/* Makes our group the foreground group again, after all processes in the pid namespace have ended. */
void end_job(const struct job *job);

/* programs/userns-enter/init.c */

/* For a pid namespace, or a new time namespace: runs the program in a child, and represents it outside. */
__attribute__((noreturn)) void run_child(const struct plan *plan);

#endif
