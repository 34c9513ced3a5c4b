/* A running userns-join (join-main.c): a process in a user namespace that shares nothing with us. */
#ifndef USERNS_JOINER_H
#define USERNS_JOINER_H

#include "child.h"
#include "outcome.h"

struct joiner {
	struct child child;
	int control; /* our end of the socket that it waits on */
	int theirs;  /* its end, until it has been started */
	int ns;
	int program; /* O_PATH */
	int error;   /* written by the child when it cannot execute the program; we share its memory until then */
};

/*
 * Starts the program at the path and waits until it is in the namespace; −1: in a new one of its own. 0, and
 * joiner_end() is to follow; or a negative errno.
 */
int joiner_start(struct joiner *joiner, const char *path, int ns, struct outcome *out);

void joiner_end(struct joiner *joiner);

#endif
