/*
 * A child that shares memory and does work that may touch another user's file system. Such a file
 * system can hold it up for ever: a fuse server that has taken a request and does not answer it makes the wait one that no
 * signal ends (request_wait_answer in fs/fuse/dev.c). So the wait for the child's end is bounded too.
 */
#ifndef USERNS_BOUNDED_CHILD_H
#define USERNS_BOUNDED_CHILD_H

#include "child/child.h"
#include <stdatomic.h>
#include <stddef.h>

/*
 * The pool thread that waits for a child. process.exit() and the end of a worker join that thread, so `ending` cuts its
 * waits short; and during a long wait, the pool may start another thread in its place.
 */
struct waiter {
	atomic_int ending;
	void (*long_wait)(struct waiter *waiter, int change); /* 1: a long wait begins; -1: it is over */
};

/* The first member of what a child works on, which is allocated here: it must not go before the child does. */
struct bounded_child {
	struct child child;
	struct waiter *waiter; /* NULL: a thread of the caller's, which waits without a look at anything else */
	int undoes;            /* what it undoes would stay for good: an ending waiter gives it some time too */
	/*
	 * Killed, by us or by its timer, and still in the kernel: it never comes back to our code, only its end is to come. What
	 * it works on may be freed.
	 */
	int held;
	int began; /* the descriptors that it does not need are closed */
	struct bounded_child *next;
};

/* Zeroed memory of that size, which begins with a struct bounded_child; NULL when there is none. */
void *bounded_child_new(size_t size, struct waiter *waiter);

/*
 * For a body, first of all: see child_die_with_parent() and child_die_after(). The child's table of descriptors, which is its
 * own, keeps no more than those that are listed; a negative number stands for none. Held up by a file system of others, a
 * child with more would keep our pipes and sockets open beyond our own end. Each close(2) of a file on FUSE or NFS asks its server
 * (`flush` of struct file_operations), which may not answer: `began` is 0 then.
 */
void bounded_child_begin(struct bounded_child *bounded, const int *needed, int count);

/*
 * Starts the child and waits for its end. Returns 0, also when another process killed it: the body records what it has done.
 * ETIMEDOUT or, for a waiter that is ending, ECANCELED when it had to be killed; another negative errno when it could not be
 * started.
 */
int bounded_child_run(struct bounded_child *bounded, child_body *body, void *argument);

/* Frees it; or, for a child that is held, leaves it until that has ended, which a later errand looks for. */
void bounded_child_free(struct bounded_child *bounded);

#endif
