/*
 * A child that shares memory and descriptors and does something where a file system of others may be met. Such a file
 * system can hold it up for ever: a fuse server that has taken a request and does not answer it makes the wait one that no
 * signal ends (request_wait_answer in fs/fuse/dev.c). So the wait for the child's end is bounded too.
 */
#ifndef USERNS_ERRAND_H
#define USERNS_ERRAND_H

#include "child.h"
#include <stddef.h>

/* The first member of what a child works on, which is allocated here: it must not go before the child does. */
struct errand {
	struct child child;
	/*
	 * Killed, by us or by its timer, and still in the kernel: it never comes back to our code, only its end is to come. What
	 * it works on may be freed.
	 */
	int held;
	struct errand *next;
};

/* Zeroed memory of that size, which begins with a struct errand; NULL when there is none. */
void *errand_new(size_t size);

/* For a body, first of all: see child_die_with_parent() and child_die_after(). */
void errand_begin(const struct errand *errand);

/*
 * Starts the child and waits for its end. 0; ETIMEDOUT when it had to be killed; another negative errno when it could not
 * be started.
 */
int errand_run(struct errand *errand, child_body *body, void *argument);

/* Frees it; or, for a child that is held, leaves it until that has ended, which a later errand looks for. */
void errand_free(struct errand *errand);

#endif
