/* /proc, and the folder in it of a process that is held by a pidfd. */
#ifndef USERNS_PROCFS_H
#define USERNS_PROCFS_H

/*
 * Opens /proc/PID of the process behind the pidfd, as an O_PATH descriptor, or answers a negative errno. `number` is
 * its number in our own pid namespace, or 0 where only the pidfd is known. /proc may belong to another pid namespace,
 * where that number is somebody else's: then the number is asked of this very procfs. Where there is no usable /proc, a
 * private procfs is made for the call, which needs CAP_SYS_ADMIN.
 */
int procfs_open_process(int pidfd, int number);

/* The number of the process behind the pidfd in what is mounted at /proc, for a program that takes numbers only. */
int procfs_number(int pidfd);

/* A detached procfs of our own pid namespace, which is dropped with its descriptor; or a negative errno. */
int procfs_make_private(void);

/* /proc, as an O_PATH descriptor that was checked to be the root of a procfs; or a negative errno. */
int procfs_open(void);

/* /proc/PID/task/TID of the calling thread, below a /proc that was checked; as an O_PATH descriptor. */
int procfs_open_self(void);

/* Room for the name of a descriptor. */
#define PROCFS_NAME 64

/* The name of a descriptor of ours in /proc, whatever is mounted there. */
void procfs_fd_name(int fd, char name[PROCFS_NAME]);

/* The same for a call that takes nothing but names, where /proc is a procfs. 0 or a negative errno. */
int procfs_own_fd(int fd, char name[PROCFS_NAME]);

#endif
