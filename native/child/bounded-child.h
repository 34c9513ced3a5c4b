/*
 * A child that shares our memory and may access another user's file system, with a timeout. A file system may never answer: a
 * FUSE server that has read a request and sends no reply blocks the child in a wait that no signal ends (request_wait_answer() in
 * fs/fuse/dev.c). So the wait for the child's end has a timeout as well, and a child that does not end is abandoned.
 */
#ifndef USERNS_BOUNDED_CHILD_H
#define USERNS_BOUNDED_CHILD_H

#include "child/child.h"
#include <stdatomic.h>
#include <stddef.h>

/*
 * The pool thread that waits for a child. process.exit() and the end of a worker join this thread, so `ending` cuts its waits
 * short; and during a long wait the pool may start another thread in its place.
 */
struct waiter {
	atomic_int ending;
	void (*long_wait)(struct waiter *waiter, int change); /* 1: a long wait begins; -1: it has ended */
};

/* The first member of the memory that a child works on, which bounded_child_new() allocates: it must outlive the child. */
struct bounded_child {
	struct child child;
	struct waiter *waiter; /* NULL: another thread waits, which nothing cuts short */
	int undoes;            /* it unmounts a mount that would stay otherwise: `ending` cuts the wait short only after a while */
	/*
	 * It was killed and is still in the kernel: it will not run our code again, but it has not exited yet. The memory to which
	 * its request points may be freed.
	 */
	int abandoned;
	int began;        /* it has closed the descriptors that it does not need */
	int error;        /* the result: 0 or a negative errno */
	const char *step; /* the step that failed */
	struct bounded_child *next;
};

/* Returns zeroed memory of that size, which begins with a struct bounded_child; NULL if there is none. */
void *bounded_child_new(size_t size, struct waiter *waiter);

/*
 * The first call of a body. Sets the death signal and the timer (child_die_with_parent(), child_die_after()). Closes every
 * descriptor in the child's own table that is not listed (a negative number is ignored), because a child that a file system
 * blocks would keep our pipes and sockets open beyond our own end. close(2) of a file on FUSE or NFS asks the server (`flush` of
 * struct file_operations), which may not answer: `began` is 0 then.
 */
void bounded_child_begin(struct bounded_child *bounded, const int *needed, int count);

/* For a body: notes its result, and the step if it failed. Returns the error. */
int bounded_child_note(struct bounded_child *bounded, long error, const char *step);

/*
 * Starts the child, whose body gets `bounded` as its argument, and waits for its end. Returns the result that the body has noted,
 * also if it was killed after it noted a success: the last reference to a mount may be closed with its descriptors, and shutting
 * down a file system takes as long as there is data to write (generic_shutdown_super() in fs/super.c). Otherwise the result is
 * ETIMEDOUT or, for a waiter that is ending, ECANCELED, at the step `timeout`; EINTR at the step `killed`, if another process
 * killed it; or the error of clone(2) at the step "clone".
 */
int bounded_child_run(struct bounded_child *bounded, child_body *body, const char *timeout, const char *killed);

/* Frees the memory; if the child is abandoned, a later bounded_child_run() frees it after the child has ended. */
void bounded_child_free(struct bounded_child *bounded);

#endif
