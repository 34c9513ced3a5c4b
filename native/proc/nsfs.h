/* Descriptors of user namespaces: where they come from and what they tell. */
#ifndef USERNS_NSFS_H
#define USERNS_NSFS_H

#include "kernel/outcome.h"

struct ns_identity {
	uint64_t device;
	uint64_t inode;
	uint64_t id; /* NS_GET_ID; 0 before Linux 6.18 */
};

/* The user namespace of a live process, given its pidfd and its /proc/PID. A descriptor, or a negative errno. */
int nsfs_of_process(int pidfd, int process);

/* 0 when the descriptor is a namespace of that kind, a CLONE_NEW…; EMEDIUMTYPE when it is something else. */
int nsfs_check(int fd, int kind);

/* Opens the namespace of that kind that a path leads to. */
void nsfs_open_path(const char *path, int kind, struct outcome *out);

/* The same for an O_PATH descriptor, which the function closes. */
void nsfs_open_seen(int seen, int kind, struct outcome *out);

/* Opens the user namespace of the process with that number, and reads its uid_map, gid_map and setgroups. */
void nsfs_open_pid(int pid, struct outcome *out);

int nsfs_identify(int fd, struct ns_identity *identity);

/* The uid that owns the namespace, as the caller's namespace sees it. */
int nsfs_owner(int fd, uint32_t *uid);

/* A descriptor of the parent namespace; EPERM when there is none that the caller may see. */
int nsfs_parent(int fd);

#define NSFS_MAPS 3

/*
 * Opens uid_map, gid_map and setgroups below /proc/PID. They are those of the namespace that the process is in at this
 * moment, whatever becomes of it (proc_id_map_open() and proc_setgroups_open() in fs/proc/base.c). 0, and
 * nsfs_take_maps() is to follow; or a negative errno.
 */
int nsfs_open_maps(int process, int maps[NSFS_MAPS], struct outcome *out);

/*
 * Reads and closes them: one text, with a colon between the three, since each value more that is answered to JavaScript
 * takes as long as a system call. 0; or a negative errno, and no text.
 */
int nsfs_take_maps(const int maps[NSFS_MAPS], struct outcome *out);

/* Both, one after the other. */
int nsfs_read_maps(int process, struct outcome *out);

#endif
