/* /proc, and the directory in it of a process that a pidfd holds. */
#ifndef USERNS_PROCFS_H
#define USERNS_PROCFS_H

/*
 * Opens /proc/PID of the process of the pidfd. Returns an O_PATH descriptor or a negative errno. `number` is the PID in our
 * own pid namespace, or 0 if it is not known. If /proc belongs to another pid namespace, where the same number is another
 * process's, the number is read from that procfs. Without a usable /proc, a private procfs is mounted for the call, which needs
 * CAP_SYS_ADMIN.
 */
int procfs_open_process(int pidfd, int number);

/* Returns the PID of the process of the pidfd in the procfs at /proc, for a program that takes only a PID. */
int procfs_number(int pidfd);

/* Returns a detached procfs of our own pid namespace, which is dropped with its descriptor; or a negative errno. */
int procfs_make_private(void);

/* Opens /proc and checks that it is the root of a procfs. Returns an O_PATH descriptor or a negative errno. */
int procfs_open(void);

/* Opens /proc/PID/task/TID of the calling thread below a checked /proc. Returns an O_PATH descriptor or a negative errno. */
int procfs_open_self(void);

/* The size of the path of a descriptor in /proc. */
#define PROCFS_NAME 64

/* Writes the path of one of our descriptors in /proc, without a check of what is mounted there. */
void procfs_fd_name(int fd, char name[PROCFS_NAME]);

/* procfs_fd_name() for a system call that takes only paths: EXDEV if /proc is no procfs. Returns 0 or a negative errno. */
int procfs_own_fd(int fd, char name[PROCFS_NAME]);

/*
 * Checks that the path /proc/self/fd/N leads to the file of the descriptor, for a call that takes a path in another process: EXDEV
 * if /proc is no procfs or has another file there. A chroot's owner could have put a program there. Returns 0 or a negative errno.
 */
int procfs_check_own_path(int fd);

#endif
