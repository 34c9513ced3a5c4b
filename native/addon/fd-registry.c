#include "addon/fd-registry.h"
#include "mount/mntns-child.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BITS 64

struct fd_registry *fd_registry_new(void)
{
	struct fd_registry *registry = calloc(1, sizeof *registry);

	if (registry != NULL) registry->references = 1;
	return registry;
}

static int make_room(struct fd_registry *registry, size_t word)
{
	size_t words = registry->words == 0 ? 4 : registry->words;
	uint64_t *bits;

	while (words <= word) words *= 2;
	if (words == registry->words) return 0;
	bits = realloc(registry->bits, words * sizeof *bits);
	if (bits == NULL) return -ENOMEM;
	memset(bits + registry->words, 0, (words - registry->words) * sizeof *bits);
	registry->bits = bits;
	registry->words = words;
	return 0;
}

int fd_registry_add(struct fd_registry *registry, int fd)
{
	size_t word = (size_t)fd / BITS;
	int error = registry->ended ? -EBADF : make_room(registry, word);

	if (error < 0) {
		close(fd);
		return error;
	}
	registry->bits[word] |= (uint64_t)1 << (fd % BITS);
	return 0;
}

int fd_registry_remove(struct fd_registry *registry, int fd)
{
	size_t word = (size_t)fd / BITS;
	uint64_t bit = (uint64_t)1 << ((unsigned)fd % BITS); /* a shift by a negative number would be undefined */

	if (fd < 0 || word >= registry->words || (registry->bits[word] & bit) == 0) return -EBADF;
	registry->bits[word] &= ~bit;
	fd_registry_acknowledge(registry, fd);
	return 0;
}

int fd_registry_close(struct fd_registry *registry, int fd)
{
	int error = fd_registry_remove(registry, fd);

	if (error == 0) close(fd); /* Linux frees the number even if close(2) fails, so it must not be called again */
	return error;
}

void fd_registry_attached(struct fd_registry *registry, int fd, uint64_t unique, int mount_ns)
{
	struct unacknowledged *unacknowledged = registry->free_entry != NULL ? registry->free_entry : malloc(sizeof *unacknowledged);

	registry->free_entry = NULL;
	if (unacknowledged == NULL) return; /* then it is as sure as it was without */
	*unacknowledged = (struct unacknowledged){.fd = fd, .unique = unique, .mount_ns = mount_ns, .next = registry->unacknowledged};
	registry->unacknowledged = unacknowledged;
}

void fd_registry_acknowledge(struct fd_registry *registry, int fd)
{
	struct unacknowledged **location = &registry->unacknowledged;

	while (*location != NULL) {
		struct unacknowledged *unacknowledged = *location;

		if (unacknowledged->fd != fd) {
			location = &unacknowledged->next;
			continue;
		}
		*location = unacknowledged->next;
		if (registry->free_entry == NULL) registry->free_entry = unacknowledged;
		else free(unacknowledged);
	}
}

/* EINVAL: the mount is not attached in that mount namespace any more; ESTALE: other code has closed the descriptor. */
void fd_registry_undo_mount(int mount_ns, int fd, uint64_t unique, struct waiter *waiter)
{
	int error = mount_detach(mount_ns, fd, unique, waiter);

	if (error < 0 && error != -EINVAL) fd_registry_report_left(error);
}

void fd_registry_report_left(int error)
{
	dprintf(STDERR_FILENO, "userns: a mount of a thread that ended could not be unmounted: it stays, or appears later (errno %d)\n",
		-error);
}

void fd_registry_undo_unacknowledged(struct fd_registry *registry)
{
	while (registry->unacknowledged != NULL) {
		struct unacknowledged *unacknowledged = registry->unacknowledged;

		fd_registry_undo_mount(unacknowledged->mount_ns, unacknowledged->fd, unacknowledged->unique, NULL);
		registry->unacknowledged = unacknowledged->next;
		free(unacknowledged);
	}
}

void fd_registry_end(struct fd_registry *registry)
{
	fd_registry_undo_unacknowledged(registry);
	for (size_t word = 0; word < registry->words; word++) {
		while (registry->bits[word] != 0) {
			int bit = __builtin_ctzll(registry->bits[word]);

			registry->bits[word] &= registry->bits[word] - 1;
			close((int)(word * BITS) + bit);
		}
	}
	registry->ended = 1;
	fd_registry_release(registry);
}

void fd_registry_hold(struct fd_registry *registry)
{
	registry->references++;
}

void fd_registry_release(struct fd_registry *registry)
{
	if (--registry->references > 0) return;
	free(registry->free_entry);
	free(registry->bits);
	free(registry);
}
