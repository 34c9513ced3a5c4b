/* Detached mounts, which get their map and their attributes before they are visible anywhere. */
#ifndef USERNS_DETACHED_TREE_H
#define USERNS_DETACHED_TREE_H

#include "kernel/outcome.h"
#include "mount/location.h"

struct waiter;

/* The map of one mount. src/native/addon.ts has the same numbers. */
enum part_mode {
	PART_KEEP,  /* stays as the source's */
	PART_MAP,   /* is set; the source has none */
	PART_REMAP, /* is replaced (Linux 6.15) */
	PART_CLEAR, /* is removed (Linux 6.15) */
	PART_ITSELF, /* is set on the source itself, a detached mount that is not copied */
};

/* One mount of a tree. */
struct part {
	const char *path;  /* below the source; "" for the source itself */
	uint64_t mount_id; /* the mount ID that is expected there, or 0 */
	enum part_mode mode;
	int ns;
};

struct tree_request {
	struct location source;
	int mount_ns; /* the mount namespace of the source, which must be a descriptor; −1: this process's own */
	const struct part *parts; /* a mount comes before those that are mounted on it */
	size_t count;
	int recursive;       /* with a single part: includes the mounts below */
	int recursive_idmap; /* and maps them too */
	uint64_t attr_set;   /* MOUNT_ATTR_… without MOUNT_ATTR_IDMAP */
	uint64_t attr_clr;
	uint64_t propagation;  /* MS_PRIVATE, MS_SHARED, MS_SLAVE or MS_UNBINDABLE */
	struct waiter *waiter; /* the pool thread that waits, or NULL */
};

/*
 * Makes a detached tree. Several parts are assembled from a copy of each, because a submount of a detached tree cannot be mapped
 * alone. After a failure, what was made is dropped with its descriptor. Returns 0 or a negative errno.
 */
int tree_make(const struct tree_request *request, struct outcome *out);

#endif
