/*
 * How a mount is attached and unmounted, step by step: raw system calls, made in a child that has a table of descriptors, a
 * root and a working directory of its own (mount/mntns-child.c).
 */
#ifndef USERNS_ATTACH_STEPS_H
#define USERNS_ATTACH_STEPS_H

#include "kernel/outcome.h"
#include "mount/location.h"

struct waiter;

struct attach_request {
	int tree;        /* a detached mount */
	uint64_t unique; /* its unique mount ID, checked before an unmount after a failure; 0 before Linux 6.8 */
	struct location target;
	int replace; /* take the place of what is mounted at the target */
	int recursive;
	uint64_t propagation; /* MS_…; 0: unchanged */
	int mount_ns;         /* the mount namespace to attach it in, or −1 for this process's own */
	struct waiter *waiter; /* the pool thread that waits, or NULL */
};

struct attaching {
	const struct attach_request *request;
	int procfs; /* our own procfs, opened before the child joins a mount namespace; negative if /proc is not usable */
	int error;
	int left;  /* see kernel/outcome.h */
	const char *step;
	/* While one mount takes another's place: the step that tells what is where, should the child be killed now; or NULL. */
	const char *exchanging;
};

/* 0 or a negative errno, which is noted with its step. */
int attach_steps(struct attaching *at);

/*
 * Makes `tree`, which is private, a peer of the mount that `target` is the root of. 0 or a negative errno, with the step
 * noted.
 */
int join_peers_steps(struct attaching *at);

/*
 * Unmounts the mount whose root the descriptor is, with all that is mounted below it. If its unique mount ID is not `unique`,
 * nothing is done (ESTALE), because other code has closed the descriptor and its number was reused. 0 is not compared.
 * Returns 0 or a negative errno, without noting a step.
 */
long unmount_steps(int procfs, int fd, uint64_t unique);

/* For one line at a failing step. */
int attach_fail(struct attaching *at, long error, const char *step);

#endif
