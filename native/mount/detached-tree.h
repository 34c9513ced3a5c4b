/* Detached mounts: made with their map and their attributes while nobody sees them. */
#ifndef USERNS_DETACHED_TREE_H
#define USERNS_DETACHED_TREE_H

#include "kernel/outcome.h"
#include "mount/location.h"

struct waiter;

/* What becomes of the map of one mount. src/native/addon.ts has the same numbers. */
enum part_mode {
	PART_KEEP,  /* stays as the source's is */
	PART_MAP,   /* gets one; it has none */
	PART_REMAP, /* gets another one instead of its own (Linux 6.15) */
	PART_CLEAR, /* loses it (Linux 6.15) */
};

/* One mount of a tree. */
struct part {
	const char *path; /* below the source, "" for the source itself */
	uint64_t mount_id; /* what must be found there, or 0 */
	enum part_mode mode;
	int ns;
};

struct tree_request {
	struct location source;
	const struct part *parts; /* parents before what is mounted on them */
	size_t count;
	int recursive;       /* with a single part: the mounts below come along */
	int recursive_idmap; /* and are mapped too */
	uint64_t attr_set;   /* MOUNT_ATTR_… without MOUNT_ATTR_IDMAP */
	uint64_t attr_clr;
	uint64_t propagation; /* MS_PRIVATE, MS_SHARED, MS_SLAVE or MS_UNBINDABLE */
	struct waiter *waiter; /* the pool thread that waits, or NULL */
};

/*
 * Several parts are put together out of a copy of each: a submount of a detached tree cannot be mapped alone. What is
 * half-made is detached and goes with its descriptor.
 */
void tree_make(const struct tree_request *request, struct outcome *out);

#endif
