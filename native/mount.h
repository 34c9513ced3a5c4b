/* ID-mapped mounts, and user namespaces kept at a path. */
#ifndef USERNS_MOUNT_H
#define USERNS_MOUNT_H

#include "outcome.h"

struct mount_request {
	int source_fd;      /* the source itself, or -1 */
	const char *source; /* a path, when source_fd is -1 */
	const char *target; /* a path, or NULL: the mount stays detached */
	int ns;
	int recursive;
	int recursive_idmap;
	uint64_t attr_set; /* MOUNT_ATTR_… without MOUNT_ATTR_IDMAP */
	uint64_t attr_clr;
	uint64_t propagation; /* MS_PRIVATE, MS_SHARED, MS_SLAVE or MS_UNBINDABLE */
};

void mount_idmapped(const struct mount_request *request, struct outcome *out);

/* Opens the mount that is on top at a path, for mount_detach(). */
void mount_open(const char *path, struct outcome *out);

/*
 * Takes the mount off whose root the descriptor is. umount2(2) goes down to what is mounted on top of it, so the
 * caller looks first that nothing is.
 */
int mount_detach(int fd);

/* Keeps a namespace alive by mounting it on a new, empty file at the path. */
void mount_pin(int ns, const char *path, struct outcome *out);

#endif
