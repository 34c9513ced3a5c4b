/* userns-enter: what its rooms share. No C library here, and no privilege: see enter-main.c. */
#ifndef USERNS_ENTER_H
#define USERNS_ENTER_H

#include "raw.h"

#define MOST_GROUPS 65536
#define EINVAL_NUMBER 22

/* The arguments, as enter-main.c has them. */
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

/* enter-plan.c */

int same(const char *a, const char *b);

/* False for arguments that are none of ours. */
int read_plan(struct plan *plan, long argc, char *const *argv);

/* The numbers of the list in `groups`, and how many there are, or −1. */
long read_groups(const char *list, unsigned groups[MOST_GROUPS]);

/* Tells that the program was started by hand. */
void tell_usage(void);

/* Tells which step failed, and ends with the status that env(1) and chroot(1) have for it. */
__attribute__((noreturn)) void fail(const struct plan *plan, const char *step, long error);

/* enter-program.c */

void set_handler(int signal, long handler);

void set_mask(unsigned long mask);

/* The program, with the IDs inside. */
__attribute__((noreturn)) void execute(const struct plan *plan);

/* enter-child.c */

/* For a new pid or time namespace: the program is a child of this process, which stands for it outside. */
__attribute__((noreturn)) void run_child(const struct plan *plan);

#endif
