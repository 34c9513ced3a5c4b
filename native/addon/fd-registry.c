#include "addon/fd-registry.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BITS 64

struct fd_registry *fd_registry_new(void)
{
	return calloc(1, sizeof(struct fd_registry));
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
	int error = make_room(registry, word);

	if (error == 0) registry->bits[word] |= (uint64_t)1 << (fd % BITS);
	return error;
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

void fd_registry_unacknowledged(struct fd_registry *registry, const struct undo *undo)
{
	struct unacknowledged *entry = registry->free_entry != NULL ? registry->free_entry : malloc(sizeof *entry);

	registry->free_entry = NULL;
	if (entry == NULL) return; /* without memory, an end of the environment at this moment leaves the mount */
	*entry = (struct unacknowledged){.undo = *undo, .next = registry->unacknowledged};
	registry->unacknowledged = entry;
}

void fd_registry_acknowledge(struct fd_registry *registry, int fd)
{
	struct unacknowledged **link = &registry->unacknowledged;

	while (*link != NULL) {
		struct unacknowledged *entry = *link;

		if (entry->undo.fd != fd) {
			link = &entry->next;
			continue;
		}
		*link = entry->next;
		if (registry->free_entry == NULL) registry->free_entry = entry;
		else free(entry);
	}
}

void fd_registry_undo_all(struct fd_registry *registry)
{
	while (registry->unacknowledged != NULL) {
		struct unacknowledged *entry = registry->unacknowledged;

		entry->undo.run(&entry->undo);
		registry->unacknowledged = entry->next;
		free(entry);
	}
}

void fd_registry_free(struct fd_registry *registry)
{
	if (registry == NULL) return;
	fd_registry_undo_all(registry);
	for (size_t word = 0; word < registry->words; word++) {
		while (registry->bits[word] != 0) {
			int bit = __builtin_ctzll(registry->bits[word]);

			registry->bits[word] &= registry->bits[word] - 1;
			close((int)(word * BITS) + bit);
		}
	}
	free(registry->free_entry);
	free(registry->bits);
	free(registry);
}
