/*
 * What is done to mounts in a child of ours, in this or another mount namespace. Attaching takes the lock of the target's
 * directory, which anyone who may read that directory can hold (getdents64(2) into memory that a FUSE server fills), and a
 * path may lead through a file system that never answers. No signal ends such a wait, so it is never a thread of ours that
 * waits: a child can be left behind (errand.h). It keeps our own user namespace, so those who live in the other one cannot
 * trace it, and has a descriptor table of its own.
 */
#ifndef USERNS_INSIDE_H
#define USERNS_INSIDE_H

#include "attach-steps.h"

/*
 * Attaches a mount, or exchanges it for what is at the target. Nothing is attached when it fails, but for these steps: when a
 * mount that it takes the place of cannot be unmounted it lies beneath that one ("umount old"); when the propagation cannot be
 * set again afterwards it is in that one's place ("propagation beneath"); "propagation left" and "inside left": it could not be
 * unmounted again; "inside held": before Linux 6.15 it may be attached later.
 */
void mount_attach(const struct attach_request *request, struct outcome *out);

/* unmount_steps() in a mount namespace, or in one's own for −1; ETIMEDOUT when a file system does not answer. */
int mount_detach(int mount_ns, int fd, uint64_t unique, struct waiter *waiter);

/* Opens the mountinfo of a mount namespace, as seen from its root. A descriptor or a negative errno. */
int mount_table_of(int mount_ns);

/*
 * Makes a private mount a peer of another one of the same file system, with the other's master, and shared in any case
 * (MOVE_MOUNT_SET_GROUP, Linux 5.15). 0 or a negative errno, with the step.
 */
void mount_join_peers(int mount_ns, int from, int to, struct waiter *waiter, struct outcome *out);

/* place_open() in a child that has joined a mount namespace. */
int mount_open_in(int mount_ns, const struct place *place, struct waiter *waiter);

/*
 * place_open(), for a place that no thread of ours may wait for: at once where every name is in the cache of directory
 * entries (RESOLVE_CACHED, Linux 5.12), in a child otherwise.
 */
int mount_open_place(const struct place *place, struct waiter *waiter);

#endif
