/*
 * Operations on mounts in a child process, in this or another mount namespace. Attaching takes the lock of the target's directory,
 * which every user with read access to that directory can hold (getdents64(2) into memory that a FUSE server fills), and a path may
 * lead through a file system that never answers. No signal ends such a wait, so no thread of this process makes the call: a child can
 * be abandoned (child/bounded-child.h). The child stays in our own user namespace, because processes of another one could trace
 * it, and has its own descriptor table.
 */
#ifndef USERNS_MNTNS_CHILD_H
#define USERNS_MNTNS_CHILD_H

#include "mount/attach-steps.h"

/*
 * Attaches a mount, or replaces the one at the target with it. Returns 0 or a negative errno, with the step in the outcome, as every
 * function here that fills in an outcome. After a failure nothing is attached, except at these steps:
 * "umount old": the old mount could not be unmounted, and the new one is beneath it; "propagation beneath": the new mount has
 * replaced the old one, but its propagation could not be set again; "propagation left" and "mntns left": the new mount could not be
 * unmounted again; "mntns held": before Linux 6.15 the mount may be attached later.
 */
int mount_attach(const struct attach_request *request, struct outcome *out);

/* Calls unmount_steps() in a mount namespace (−1: this process's own). ETIMEDOUT if a file system does not answer. */
int mount_detach(int mount_ns, int fd, uint64_t unique, struct waiter *waiter);

/*
 * Unmounts a mount in this mount namespace only if no mount is on it or below it. Checks that with listmount(2), Linux 6.8. Returns
 * 0, also if the mount is not in this mount namespace any more; EBUSY if there is another mount, or another negative errno, with
 * nothing changed; 1 if a mount was attached on it between the check and the call, and was unmounted instead.
 */
int mount_detach_alone(int fd, uint64_t unique, struct waiter *waiter);

/* Opens the mountinfo of a mount namespace, as seen from its root. Returns a descriptor or a negative errno. */
int mount_table_of(int mount_ns);

/*
 * Makes a private mount a peer of another one of the same file system, with the other's master, and always shared
 * (MOVE_MOUNT_SET_GROUP, Linux 5.15).
 */
int mount_join_peers(int mount_ns, int from, int to, struct waiter *waiter, struct outcome *out);

/* Calls location_open() in a child that has joined a mount namespace. Returns a descriptor or a negative errno, with the step. */
int mount_open_in(int mount_ns, const struct location *location, struct waiter *waiter, struct outcome *out);

/*
 * Returns a detached copy of the mount whose root the descriptor is, with the attributes unless they are NULL (Linux 6.15). The kernel
 * copies a mount only for a process in the mount namespace of that mount: `mount_ns`, which a child joins, or −1, this process's own.
 * Returns a negative errno after a failure, with the step.
 */
int mount_copy(int mount_ns, int fd, unsigned flags, const struct userns_mount_attr *attributes, struct waiter *waiter,
	       struct outcome *out);

/*
 * Calls location_open() without an unbounded wait on this thread: on this thread if every name is in the cache of directory entries
 * (RESOLVE_CACHED, Linux 5.12), in a child otherwise.
 */
int mount_open_location(const struct location *location, struct waiter *waiter);

#endif
