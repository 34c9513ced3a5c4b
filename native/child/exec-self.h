/* Replaces this process with userns-enter. */
#ifndef USERNS_EXEC_SELF_H
#define USERNS_EXEC_SELF_H

#include "kernel/outcome.h"

/*
 * Executes userns-enter with one descriptor that the program inherits besides 0, 1 and 2. Returns only on failure, which `out`
 * receives, and restores everything. For the main thread: the kernel ends all other threads, and the program gets its PID.
 */
void exec_self(char *const *arguments, char *const *environment, int fd, struct outcome *out);

#endif
