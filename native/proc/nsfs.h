/* Descriptors of namespaces (nsfs): how they are opened, checked and described; and the maps of a process. */
#ifndef USERNS_NSFS_H
#define USERNS_NSFS_H

#include "kernel/outcome.h"

struct ns_identity {
	uint64_t device;
	uint64_t inode;
	uint64_t id; /* NS_GET_ID; 0 before Linux 6.18 */
};

/*
 * Opens the namespace of that kind (CLONE_NEW…) of a live process. `process` is its directory in /proc, or -1:
 * it is opened if the kernel needs it. Returns a descriptor or a negative errno.
 */
int nsfs_of_process(int pidfd, int process, int kind);

/* Returns 0 if the descriptor is a namespace of that kind (CLONE_NEW…), EMEDIUMTYPE if it is anything else. */
int nsfs_check(int fd, int kind);

/* Returns 1 if both descriptors are the same file. */
int nsfs_is_same(int a, int b);

/* Opens the namespace of that kind at a path. */
void nsfs_open_path(const char *path, int kind, struct outcome *out);

/* nsfs_open_path() for an O_PATH descriptor, which the function closes. */
void nsfs_open_seen(int seen, int kind, struct outcome *out);

/* Opens the user namespace of a process, and reads its uid_map, gid_map and setgroups. */
void nsfs_open_pid(int pid, struct outcome *out);

/* nsfs_open_pid() for an open pidfd; `pid` is its pid, or 0 if the caller does not know it. */
void nsfs_open_process(int pidfd, int pid, struct outcome *out);

/* Opens the user namespace that owns a namespace (NS_GET_USERNS); EPERM if the caller may not see it. */
int nsfs_owner_namespace(int fd);
/*
 * Opens a user namespace by its ID (NS_GET_ID), Linux 6.18. `inode` 0 suffices since Linux 7.2. Returns a descriptor or a negative
 * errno: EBADF on an older kernel. ESTALE if no such namespace exists, or if the caller may not open it.
 */
int nsfs_open_id(uint64_t id, uint32_t inode);

/* Stores the IDs of the user namespaces that the caller may see, after `last`, and returns their number. Linux 6.19. */
long nsfs_list(uint64_t last, uint64_t *ids, size_t most);

int nsfs_identify(int fd, struct ns_identity *identity);

/* Stores the uid of the namespace's owner, as the caller's namespace shows it. */
int nsfs_owner(int fd, uint32_t *uid);

/* Opens the parent namespace; EPERM if the caller may not see one. */
int nsfs_parent(int fd);

#define NSFS_MAPS 3

/*
 * Opens uid_map, gid_map and setgroups below /proc/PID. They belong to the namespace that the process is in at this moment, even
 * if it leaves it later (proc_id_map_open() and proc_setgroups_open() in fs/proc/base.c). Returns 0, and the caller must call
 * nsfs_take_maps(); or a negative errno.
 */
int nsfs_open_maps(int process, int maps[NSFS_MAPS], struct outcome *out);

/*
 * Reads and closes them. OUTCOME_MAPS receives one text with a colon between the three files, because each further value that
 * is passed to JavaScript takes as long as a system call. Returns 0; or a negative errno, without a text.
 */
int nsfs_take_maps(const int maps[NSFS_MAPS], struct outcome *out);

/* nsfs_open_maps() and nsfs_take_maps(). */
int nsfs_read_maps(int process, struct outcome *out);

#endif
