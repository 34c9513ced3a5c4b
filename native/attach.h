/* Mounts at their place: attached, or exchanged for what is there, in this or another mount namespace. */
#ifndef USERNS_ATTACH_H
#define USERNS_ATTACH_H

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

/*
 * Nothing is attached when it fails, but when a mount that it takes the place of cannot be taken off: then it lies
 * beneath that one; or when the propagation cannot be set again afterwards: then it is in that one's place. The target is a place in the other namespace when there is one.
 */
void mount_attach(const struct attach_request *request, struct outcome *out);

/* The same step by step, for the thread or the child that is in that mount namespace. */
struct attaching {
	const struct attach_request *request;
	int inside; /* in a child that has a root and a working directory of its own */
	int error;
	const char *step;
};

/* 0 or a negative errno, which is noted with its step. */
int attach_steps(struct attaching *at);

/* For one line at a failing step. */
int attach_fail(struct attaching *at, long error, const char *step);

#endif
