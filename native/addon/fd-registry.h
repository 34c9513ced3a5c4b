/*
 * The descriptors that one JavaScript environment (the main thread or a worker) owns. close() accepts no other number, so a
 * number that is wrong or outdated never closes another owner's descriptor. The end of the environment closes the rest.
 */
#ifndef USERNS_FD_REGISTRY_H
#define USERNS_FD_REGISTRY_H

#include <stddef.h>
#include <stdint.h>

/* How to undo an effect that outlives its descriptor, such as an attached mount. */
struct undo {
	void (*run)(const struct undo *undo); /* NULL: there is nothing to undo */
	int fd;          /* the descriptor of a mount; −1: that of the result */
	int mount_ns;    /* the mount namespace that the mount is in, a descriptor of this environment; −1: that of this process */
	uint64_t unique; /* the unique mount ID; 0 before Linux 6.8 */
};

/* An effect that JavaScript has not acknowledged yet. */
struct unacknowledged {
	struct undo undo;
	struct unacknowledged *next;
};

/* Used on the environment's own thread only. */
struct fd_registry {
	uint64_t *bits;
	size_t words;
	struct unacknowledged *unacknowledged;
	struct unacknowledged *free_entry; /* for the next one, or NULL */
};

/* NULL: out of memory. */
struct fd_registry *fd_registry_new(void);

/* Registers a descriptor. 0 or −ENOMEM; the descriptor stays open in either case. */
int fd_registry_add(struct fd_registry *registry, int fd);

/*
 * Removes a descriptor that other code has closed, whose number may be another file's. 0, or −EBADF if it is not registered.
 */
int fd_registry_remove(struct fd_registry *registry, int fd);

/* Removes and closes a descriptor. 0, or −EBADF if it is not registered. */
int fd_registry_close(struct fd_registry *registry, int fd);

/*
 * Notes an effect that JavaScript does not know of yet. If the environment ends before fd_registry_acknowledge() for
 * `undo->fd`, or before this descriptor is removed or closed, the effect is undone, because no other code can undo it then.
 */
void fd_registry_unacknowledged(struct fd_registry *registry, const struct undo *undo);
void fd_registry_acknowledge(struct fd_registry *registry, int fd);

/* Undoes all unacknowledged effects. */
void fd_registry_undo_all(struct fd_registry *registry);

/* At the end of the environment: undoes all unacknowledged effects, closes all descriptors, and frees the registry. */
void fd_registry_free(struct fd_registry *registry);

#endif
