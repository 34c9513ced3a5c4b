/* A child process of ours: started, held by a pidfd, killed and reaped. */
#ifndef USERNS_CHILD_H
#define USERNS_CHILD_H

#include "kernel/kernel-abi.h"
#include <sys/types.h>

struct cpu_binding;

struct child {
	pid_t pid;    /* in our pid namespace */
	int pidfd;    /* CLOEXEC; -1 when there is no child */
	pid_t parent; /* our own pid, for the child to see whether we still live */
	int bound;    /* it may run on one processor only: see child_start_here() */
	/* The child's stack. It makes a handful of raw system calls and takes no signal, so this is plenty. */
	_Alignas(16) char stack[8192];
};

/*
 * What the child runs, on its own stack, in our memory: raw system calls only, and never returns. It starts with
 * every signal blocked.
 */
typedef int child_body(void *argument);

/* Starts a child with `flags` for clone beside CLONE_PIDFD, and exit signal 0. 0 or a negative errno. */
int child_start(struct child *child, uint64_t flags, child_body *body, void *argument);

/*
 * The same behind cpu_bind(), for a child that does nothing and soon ends: where the caller is bound it starts on
 * his processor and stays there. Waking another processor, twice, costs more than all that such a child does
 * (docs/adr/030). When it is to end and that processor has no time for it, it may run anywhere again.
 */
int child_start_here(struct child *child, uint64_t flags, child_body *body, void *argument,
		     const struct cpu_binding *cpu);

/* For a body: asks to be killed when the thread that made the child ends, and ends at once when that has happened. */
void child_die_with_parent(const struct child *child);

/*
 * For a body that others may hold up: the kernel ends it when that time is over, execve(2) or not. Who has become somebody
 * else by setuid(2) meanwhile may not kill it, and nor would it be killed when he ends.
 */
void child_die_after(int milliseconds);

/*
 * For a body that executes a program, without CLONE_FILES: the descriptors, three at the most, become 0, 1 and so on, and
 * everything else is closed. 0 or a negative errno.
 */
long child_keep(const int *fds, int count);

/* For a body that executes a program: takes signals again. */
void child_take_signals(void);

/* Reaps a child that has ended: its exit status, 256 and the number of the signal that ended it, or a negative errno. */
int child_reap(struct child *child);

/* Kills the child, if there is one, without a wait. */
void child_kill(const struct child *child);

/* Kills and reaps the child and closes the pidfd; does nothing when there is none. */
void child_end(struct child *child);

#endif
