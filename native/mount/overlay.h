/* Overlays whose layers are descriptors. */
#ifndef USERNS_OVERLAY_H
#define USERNS_OVERLAY_H

#include "kernel/outcome.h"
#include <stddef.h>

struct waiter;

struct overlay_request {
	const int *lower; /* the topmost layer first */
	size_t count;
	int upper; /* −1: the overlay is read-only */
	int work;
	const int *roots; /* the detached mounts of the layers, for a kernel that accepts no layers on detached mounts; or NULL */
	size_t root_count;
	int ask;           /* makes nothing; EBUSY if a lower layer is another overlay's upper layer or work directory */
	int prepare;       /* gives a new upper layer the owner and mode of the topmost lower layer, see mount/upper-layer.h */
	uint32_t unmapped[2];
	uint64_t attr_set; /* MOUNT_ATTR_… */
	uint64_t attr_clr;
	struct waiter *waiter; /* the pool thread that waits, or NULL */
};

/*
 * Makes a detached mount of a new overlay. The overlay holds its layers itself, so their descriptors may be closed afterwards. A
 * child makes and checks it, because a layer's file system may never answer. Returns 0 or a negative errno.
 *
 * Before Linux 6.15 a layer must be in the mount namespace of the process that makes the overlay (clone_private_mount() in
 * fs/namespace.c). With `roots` the child creates a mount namespace and attaches them there. They are visible nowhere else, and are
 * dropped with the child; the overlay has copies of them.
 */
int overlay_make(const struct overlay_request *request, struct outcome *out);

#endif
