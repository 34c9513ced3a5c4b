/* A running userns-join (programs/userns-join.c): a process in a user namespace that shares nothing with us. */
#ifndef USERNS_JOIN_PROCESS_H
#define USERNS_JOIN_PROCESS_H

#include "child/child.h"
#include "kernel/outcome.h"

struct join_process {
	struct child child;
	const char *path; /* of the program */
	int control;      /* our end of the socket that it waits on; -1: it was told to end */
	int theirs;       /* its end, until it has been started */
	int ns;
	int error; /* written by the child when it cannot execute the program; we share its memory until then */
};

/*
 * Executes the program at the path, to join `ns` or, for -1, a new one of its own. 0, and join_process_await() is to follow;
 * or a negative errno.
 */
int join_process_begin(struct join_process *join, const char *path, int ns, struct outcome *out);

/*
 * Waits until it is in the namespace. Between the two it is on its way, on another processor if there is one, and what
 * does not depend on it is done in no time. 0 or a negative errno; join_process_end() is to follow either way.
 */
int join_process_await(struct join_process *join, struct outcome *out);

/* Both, one after the other. 0, and join_process_end() is to follow; or a negative errno. */
int join_process_start(struct join_process *join, const char *path, int ns, struct outcome *out);

/* It is to end, and nobody waits. */
void join_process_stop(struct join_process *join);

/* It has ended, and nothing of it is left. */
void join_process_end(struct join_process *join);

#endif
