/* Overlays out of layers that are descriptors. */
#ifndef USERNS_OVERLAY_H
#define USERNS_OVERLAY_H

#include "kernel/outcome.h"
#include <stddef.h>

struct waiter;

struct overlay_request {
	const int *lower; /* the topmost first */
	size_t count;
	int upper; /* −1: nothing can be written */
	int work;
	const int *roots; /* the detached mounts that the layers are on, for a kernel that takes none such; or NULL */
	size_t root_count;
	int ask; /* makes nothing; EBUSY if a lower layer is another overlay's upper layer or work directory */
	uint64_t attr_set; /* MOUNT_ATTR_… */
	uint64_t attr_clr;
	struct waiter *waiter; /* the pool thread that waits, or NULL */
};

/*
 * A detached mount of a new overlay. The overlay holds its layers itself, so their descriptors may be closed. A child makes
 * it and checks it, because a layer's file system may never answer.
 *
 * Before Linux 6.15 a layer must be in the mount namespace of whoever makes the overlay (clone_private_mount() in
 * fs/namespace.c). With `roots` that is a child with a mount namespace of its own, in which it attaches them: they are seen
 * nowhere else, and gone with it, while the overlay has copies of them.
 */
void overlay_make(const struct overlay_request *request, struct outcome *out);

#endif
