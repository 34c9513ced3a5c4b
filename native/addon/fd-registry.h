/*
 * The descriptors that one JavaScript environment (the main thread or a worker) owns. close() takes none but these,
 * so that a number that is wrong or old can never close a descriptor of somebody else; and what a worker still holds
 * when it is terminated is closed with it.
 */
#ifndef USERNS_FD_REGISTRY_H
#define USERNS_FD_REGISTRY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* An attached mount of which the caller has not heard yet. */
struct unacknowledged {
	int fd;
	uint64_t unique; /* its unique mount ID; 0 before Linux 6.8 */
	int mount_ns; /* the mount namespace that it is in, a descriptor of this environment's; −1: this process's own */
	struct unacknowledged *next;
};

/* Touched on the environment's own thread only. */
struct fd_registry {
	uint64_t *bits;
	size_t words;
	struct unacknowledged *unacknowledged;
	struct unacknowledged *free_entry; /* for the next one, or NULL */
	atomic_int references; /* the environment and each of its running jobs */
	int ended;      /* the environment is gone; what comes now is closed at once */
};

struct fd_registry *fd_registry_new(void);

/* 0, or ENOMEM or EBADF; the descriptor is closed then. */
int fd_registry_add(struct fd_registry *registry, int fd);

/*
 * Removes a descriptor that other code has closed, whose number may be another file's. 0, or EBADF if it is not registered.
 */
int fd_registry_remove(struct fd_registry *registry, int fd);

/* Closes it. 0 or EBADF when it is not ours. */
int fd_registry_close(struct fd_registry *registry, int fd);

/*
 * The descriptor is that of a mount which was just attached: should the environment end now, on its way from our answer
 * to the caller's own code, the mount is taken off, since nobody knows of it. Until fd_registry_acknowledge(), or fd_registry_close().
 */
void fd_registry_attached(struct fd_registry *registry, int fd, uint64_t unique, int mount_ns);
void fd_registry_acknowledge(struct fd_registry *registry, int fd);

struct waiter;

/*
 * Unmounts a mount that JavaScript can no longer receive. JavaScript cannot receive a failure either, so it is printed on
 * standard error.
 */
void fd_registry_undo_mount(int mount_ns, int fd, uint64_t unique, struct waiter *waiter);

/* Writes that line. */
void fd_registry_report_left(int error);

/* Unmounts each mount that was attached and is not acknowledged. */
void fd_registry_undo_unacknowledged(struct fd_registry *registry);

/* The environment ends: closes them all and lets go. */
void fd_registry_end(struct fd_registry *registry);

void fd_registry_hold(struct fd_registry *registry);
void fd_registry_release(struct fd_registry *registry);

#endif
