/* A child process of ours: started, held by a pidfd, killed and reaped. */
#ifndef USERNS_CHILD_H
#define USERNS_CHILD_H

#include "kernel/kernel-abi.h"
#include <sys/types.h>

struct cpu_binding;

struct child {
	pid_t pid;    /* in our pid namespace */
	int pidfd;    /* close-on-exec; -1: there is no child */
	pid_t parent; /* our own PID, with which the child checks that we are still alive */
	int bound;    /* it may run on one CPU only: see child_start_here() */
	/* The child's stack. A child makes only raw system calls and takes no signals, so 8 KiB suffice. */
	_Alignas(16) char stack[8192];
};

/*
 * The function that the child runs, on its own stack and in our memory. It makes only raw system calls, never returns, and
 * starts with every signal blocked.
 */
typedef int child_body(void *argument);

/* Starts a child with CLONE_PIDFD and `flags`, and exit signal 0. Returns 0 or a negative errno. */
int child_start(struct child *child, uint64_t flags, child_body *body, void *argument);

/*
 * child_start() with a copy of our memory, by clone(2) alone: the program may be under a seccomp filter that ends a process for
 * clone3(2), and the child makes a call for which a filter may end it. With shared memory, that end would dump a core of our
 * memory, and before Linux 5.16 the kernel ends every process that shares the memory of such a process (zap_threads() in fs/coredump.c).
 */
int child_start_copy(struct child *child, child_body *body, void *argument);

/*
 * child_start() after cpu_bind(), for a child that does little and ends soon. If the caller is bound, the child starts on the
 * caller's CPU and stays there, because waking another CPU twice takes longer than the child's work (docs/adr/030). If the child
 * does not get to run there, child_reap() lets it run on every CPU.
 */
int child_start_here(struct child *child, uint64_t flags, child_body *body, void *argument,
		     const struct cpu_binding *cpu);

/* For a body: the kernel kills the child when the thread that started it ends. Exits at once if that thread has already ended. */
void child_die_with_parent(const struct child *child);

/*
 * For a body that another user can block: the kernel kills the child after this time, also after execve(2). A thread that has
 * changed its uid by setuid(2) meanwhile may not kill the child, and the child would not be killed at the end of that thread.
 */
void child_die_after(int milliseconds);

/*
 * For a body that executes a program, without CLONE_FILES: at most three descriptors become 0, 1 and so on, and every other
 * descriptor is closed. Returns 0 or a negative errno.
 */
long child_set_fds(const int *fds, int count);

/* For a body that executes a program: unblocks every signal. */
void child_take_signals(void);

/* Returns the milliseconds of the clock by which a timeout is measured. */
long child_now_ms(void);

/* Returns 1 if the child ends before the timeout. */
int child_has_ended(const struct child *child, int timeout_ms);

/* Reaps a child that has ended. Returns its exit status, 256 plus the signal that ended it, or a negative errno. */
int child_reap(struct child *child);

/* Kills the child, if there is one, and does not wait. */
void child_kill(const struct child *child);

/* Kills and reaps the child, and closes the pidfd. Does nothing if there is no child. */
void child_end(struct child *child);

#endif
