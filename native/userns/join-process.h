/* A running userns-join (programs/userns-join.c): a process in a user namespace that shares nothing with us. */
#ifndef USERNS_JOIN_PROCESS_H
#define USERNS_JOIN_PROCESS_H

#include "child/child.h"
#include "kernel/outcome.h"

struct join_process {
	struct child child;
	int program; /* userns-join, until it has been started */
	int ns;
	int control; /* our end of the socket that it waits on; -1: closed, so that it ends */
	int peer;    /* its end, until it has been started */
	int error;   /* written by the child if it cannot execute the program; it shares our memory until then */
};

/*
 * Executes userns-join, which joins `ns` or, for -1, creates a namespace. Returns 0, and the caller must call
 * join_process_await(); or a negative errno.
 */
int join_process_begin(struct join_process *join, int ns, struct outcome *out);

/*
 * Waits until the process is in the namespace. Between the two calls it runs on another CPU if there is one, and the caller can do
 * what does not depend on it. Returns 0 or a negative errno; in both cases the caller must call join_process_end().
 */
int join_process_await(struct join_process *join, struct outcome *out);

/* join_process_begin() and join_process_await(). Returns 0, and the caller must call join_process_end(); or a negative errno. */
int join_process_start(struct join_process *join, int ns, struct outcome *out);

/* Ends the process without waiting for it. */
void join_process_stop(struct join_process *join);

/* Ends the process and reaps it. */
void join_process_end(struct join_process *join);

#endif
