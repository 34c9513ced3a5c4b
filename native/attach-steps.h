/* How a mount is attached, step by step, by the thread or the child that is in its mount namespace. */
#ifndef USERNS_ATTACH_STEPS_H
#define USERNS_ATTACH_STEPS_H

#include "outcome.h"
#include "place.h"

struct attach_request {
	int tree; /* a detached mount */
	struct place target;
	int replace; /* take the place of what is mounted at the target */
	int recursive;
	uint64_t propagation;
	int mount_ns; /* the mount namespace to attach it in, or −1 for one's own */
};

struct attaching {
	const struct attach_request *request;
	int inside; /* in a child that has a root and a working directory of its own */
	/* Takes the mount off whose root the descriptor is: 0 or a negative errno. In a child: raw system calls only. */
	int (*take_off)(int fd);
	int error;
	const char *step;
};

/* 0 or a negative errno, which is noted with its step. */
int attach_steps(struct attaching *at);

/* For one line at a failing step. */
int attach_fail(struct attaching *at, long error, const char *step);

#endif
