/* Replaces this process with userns-enter. */
#ifndef USERNS_EXEC_SELF_H
#define USERNS_EXEC_SELF_H

#include "kernel/outcome.h"
#include <stddef.h>

/* The descriptors that the program inherits besides 0, 1 and 2: those of a list, and all from 3 to `below` - 1. */
struct exec_fds {
	const int *list;
	size_t count;
	int below;
};

/*
 * Executes userns-enter with these descriptors. Returns only on failure, which `out` receives, and restores everything. For the main
 * thread: the kernel ends all other threads, and the program gets its PID.
 */
void exec_self(char *const *arguments, char *const *environment, const struct exec_fds *fds, struct outcome *out);

#endif
