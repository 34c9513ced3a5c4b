/* Overlays out of layers that are descriptors. */
#ifndef USERNS_OVERLAY_H
#define USERNS_OVERLAY_H

#include "outcome.h"
#include <stddef.h>

struct overlay_request {
	const int *lower; /* the topmost first */
	size_t count;
	int upper; /* −1: nothing can be written */
	int work;
	uint64_t attr_set; /* MOUNT_ATTR_… */
	uint64_t attr_clr;
};

/* A detached mount of a new overlay, which holds its layers itself: their descriptors may be closed. */
void overlay_make(const struct overlay_request *request, struct outcome *out);

#endif
