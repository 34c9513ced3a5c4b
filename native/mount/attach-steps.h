/*
 * The steps by which a mount is attached and unmounted. They are raw system calls, made in a child that has its own descriptor
 * table, root directory and working directory (mount/mntns-child.c).
 */
#ifndef USERNS_ATTACH_STEPS_H
#define USERNS_ATTACH_STEPS_H

#include "child/bounded-child.h"
#include "child/fd-passing.h"
#include "kernel/outcome.h"
#include "mount/location.h"

struct attach_request {
	int tree;        /* a detached mount */
	uint64_t unique; /* its unique mount ID, which is compared before it is moved or unmounted; 0 before Linux 6.8 */
	struct location target;
	int replace; /* replace the mount that is attached at the target */
	int recursive;
	uint64_t propagation;  /* MS_…; 0: unchanged */
	int mount_ns;          /* the mount namespace to attach it in; −1: this process's own */
	struct waiter *waiter; /* the pool thread that waits, or NULL */
};

/* A detached copy of the mount whose root the request's `tree` is. */
struct mount_copy {
	unsigned flags; /* of open_tree(2) */
	int with_attributes;
	struct userns_mount_attr attributes; /* for open_tree_attr(2) */
};

/* The state of the child. */
struct mntns_child {
	struct bounded_child bounded;
	const struct attach_request *request;
	enum { MNTNS_ATTACH, MNTNS_DETACH, MNTNS_JOIN_PEERS, MNTNS_OPEN, MNTNS_COPY } task;
	int procfs; /* our own procfs, opened before the child joins a mount namespace; negative if /proc is not usable */
	int left;   /* see kernel/outcome.h */
	/* While the new mount replaces another: the step that describes the state, should the child be killed now; otherwise NULL. */
	const char *replacing;
	struct mount_copy copy;
	struct fd_passing channel; /* the last member, because it ends in a control message, whose size is not fixed */
};

/* Attaches the tree. The child notes the result, see bounded_child_note(). */
void attach_steps(struct mntns_child *child);

/* Makes `tree`, which is private, a peer of the mount whose root `target` is. The child notes the result. */
void join_peers_steps(struct mntns_child *child);

/*
 * Unmounts the mount whose root the descriptor is, with every mount below it. If its unique mount ID is not `unique`, nothing is
 * done (ESTALE), because other code has closed the descriptor and its number was reused; 0 is not compared. Returns 0 or a
 * negative errno.
 */
long unmount_steps(int procfs, int fd, uint64_t unique);

#endif
