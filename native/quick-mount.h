/*
 * The ordinary ID-mapped mount on the calling thread, when nothing of it has to be waited for: both places are found in
 * the cache of directory entries (RESOLVE_CACHED, Linux 5.12), and the rest touches no file system. It is not worth a
 * thread then, whose wake-up takes longer than the mount (docs/adr/033).
 */
#ifndef USERNS_QUICK_MOUNT_H
#define USERNS_QUICK_MOUNT_H

#include "place.h"

struct quick_request {
	struct place source;
	struct place target;
	int ns;
	uint64_t attr_set; /* without MOUNT_ATTR_IDMAP */
	uint64_t attr_clr;
	uint64_t propagation;
};

/*
 * Two halves, so that the caller can keep the descriptor before anybody sees the mount. Which step refused is not told:
 * whatever it was, the longer way finds it again and says it. Nothing is left behind then.
 */

/* A detached, mapped copy: a descriptor or a negative errno. */
int quick_copy(const struct quick_request *request);

/* 0 or a negative errno. */
int quick_attach(const struct quick_request *request, int tree);

#endif
