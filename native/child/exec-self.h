/* Replaces this process by a program. */
#ifndef USERNS_EXEC_SELF_H
#define USERNS_EXEC_SELF_H

/*
 * execve with one descriptor that the program inherits beside 0, 1 and 2. Answers only when it failed, with a negative
 * errno, and everything is as it was then. For the main thread; the kernel ends all others, and gives the program its
 * place.
 */
int exec_self(const char *program, char *const *arguments, char *const *environment, int fd);

#endif
