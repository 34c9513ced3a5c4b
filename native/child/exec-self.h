/* Replaces this process with a program. */
#ifndef USERNS_EXEC_SELF_H
#define USERNS_EXEC_SELF_H

/*
 * Calls execve(2) with one descriptor that the program inherits besides 0, 1 and 2. Returns only on failure, with a negative
 * errno, and restores everything. For the main thread: the kernel ends all other threads, and the program gets its PID.
 */
int exec_self(const char *program, char *const *arguments, char *const *environment, int fd);

#endif
