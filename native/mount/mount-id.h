/* What the kernel tells about mounts. */
#ifndef USERNS_MOUNT_ID_H
#define USERNS_MOUNT_ID_H

#include "kernel/outcome.h"

struct mount_ids {
	uint64_t id;     /* as in mountinfo; given to another mount once this one is gone */
	uint64_t unique; /* never reused, Linux 6.8; 0 before */
	int root;        /* whether the descriptor is the root of its mount */
};

/* Of the mount that the descriptor is on. 0 or a negative errno; ENOSYS before Linux 5.8. */
int mount_ids(int fd, struct mount_ids *ids);

/* The second of these numbers alone. */
int mount_unique_id(int fd, uint64_t *unique);

/* Opens what the pidfd's process is in: its mount namespace; its root directory; and its mountinfo. */
int mount_namespace_of(int pidfd);
int mount_root_of(int pidfd);
int mount_table_of_process(int pidfd);

/* The number that statmount(2) and listmount(2) know a mount namespace by, Linux 6.11. */
int mount_namespace_id(int fd, uint64_t *id);

#endif
