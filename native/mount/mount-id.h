/* The IDs of a mount, and what a process sees of mounts: its root directory and its mountinfo. */
#ifndef USERNS_MOUNT_ID_H
#define USERNS_MOUNT_ID_H

#include "kernel/outcome.h"

struct mount_ids {
	uint64_t id;     /* the mount ID of mountinfo, which the kernel reuses */
	uint64_t unique; /* the unique mount ID, which it does not reuse (Linux 6.8); 0 before */
	int root;        /* 1 if the descriptor is the root of its mount */
};

/* Fills in the IDs of the mount that the descriptor is on. Returns 0 or a negative errno; ENOSYS before Linux 5.8. */
int mount_ids(int fd, struct mount_ids *ids);

/*
 * Stores st_uid, st_gid and st_mode of the file, as the descriptor's mount shows them, from the attributes that the kernel holds:
 * the file system is not asked, so it cannot delay the caller. Returns 0 or a negative errno; ENODATA if the kernel holds none.
 */
int file_owner(int fd, uint64_t numbers[3]);

/* Stores both IDs in the outcome. Returns 0 or a negative errno, with the step. */
int mount_note_ids(int fd, struct outcome *out);

/* Open the root directory and the mountinfo of the process of a pidfd. A descriptor or a negative errno. */
int mount_root_of(int pidfd);
int mount_table_of_process(int pidfd);

/* Stores the ID that statmount(2) and listmount(2) take for a mount namespace (Linux 6.11). Returns 0 or a negative errno. */
int mount_namespace_id(int fd, uint64_t *id);

/* Returns a new mount namespace whose root is a copy of the descriptor's mount, which may be detached; or a negative errno. Linux 7.0. */
int mount_namespace_around(int fd);

#endif
