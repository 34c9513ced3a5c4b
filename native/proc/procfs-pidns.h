/* Whether a procfs shows processes under the numbers that they have in our own pid namespace. */
#ifndef USERNS_PROCFS_PIDNS_H
#define USERNS_PROCFS_PIDNS_H

/* Of the root of a procfs. Its mount is known from then on, where mounts have a number of their own (Linux 6.8). */
int procfs_is_own(int root);

/* Whether it is on the mount that is known, wherever there. */
int procfs_is_known(int fd);

#endif
