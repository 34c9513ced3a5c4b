#include "addon/fd-registry.h"
#include "mount/mntns-child.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BITS 64

struct owned *owned_new(void)
{
	struct owned *owned = calloc(1, sizeof *owned);

	if (owned != NULL) owned->references = 1;
	return owned;
}

static int make_room(struct owned *owned, size_t word)
{
	size_t words = owned->words == 0 ? 4 : owned->words;
	uint64_t *bits;

	while (words <= word) words *= 2;
	if (words == owned->words) return 0;
	bits = realloc(owned->bits, words * sizeof *bits);
	if (bits == NULL) return -ENOMEM;
	memset(bits + owned->words, 0, (words - owned->words) * sizeof *bits);
	owned->bits = bits;
	owned->words = words;
	return 0;
}

int owned_add(struct owned *owned, int fd)
{
	size_t word = (size_t)fd / BITS;
	int error = owned->ended ? -EBADF : make_room(owned, word);

	if (error < 0) {
		close(fd);
		return error;
	}
	owned->bits[word] |= (uint64_t)1 << (fd % BITS);
	return 0;
}

int owned_forget(struct owned *owned, int fd)
{
	size_t word = (size_t)fd / BITS;
	uint64_t bit = (uint64_t)1 << ((unsigned)fd % BITS); /* a shift by a negative number would be undefined */

	if (fd < 0 || word >= owned->words || (owned->bits[word] & bit) == 0) return -EBADF;
	owned->bits[word] &= ~bit;
	owned_told(owned, fd);
	return 0;
}

int owned_close(struct owned *owned, int fd)
{
	int error = owned_forget(owned, fd);

	if (error == 0) close(fd); /* Linux frees the number even if close(2) fails, so it must not be called again */
	return error;
}

void owned_attached(struct owned *owned, int fd, uint64_t unique, int mount_ns)
{
	struct untold *untold = owned->spare != NULL ? owned->spare : malloc(sizeof *untold);

	owned->spare = NULL;
	if (untold == NULL) return; /* then it is as sure as it was without */
	*untold = (struct untold){.fd = fd, .unique = unique, .mount_ns = mount_ns, .next = owned->untold};
	owned->untold = untold;
}

void owned_told(struct owned *owned, int fd)
{
	struct untold **place = &owned->untold;

	while (*place != NULL) {
		struct untold *untold = *place;

		if (untold->fd != fd) {
			place = &untold->next;
			continue;
		}
		*place = untold->next;
		if (owned->spare == NULL) owned->spare = untold;
		else free(untold);
	}
}

/* EINVAL: the mount is not attached in that mount namespace any more; ESTALE: other code has closed the descriptor. */
void owned_undo_mount(int mount_ns, int fd, uint64_t unique, struct waiter *waiter)
{
	int error = mount_detach(mount_ns, fd, unique, waiter);

	if (error < 0 && error != -EINVAL) owned_say_left(error);
}

void owned_say_left(int error)
{
	dprintf(STDERR_FILENO, "userns: a mount of a thread that ended could not be unmounted: it stays, or appears later (errno %d)\n",
		-error);
}

void owned_undo_untold(struct owned *owned)
{
	while (owned->untold != NULL) {
		struct untold *untold = owned->untold;

		owned_undo_mount(untold->mount_ns, untold->fd, untold->unique, NULL);
		owned->untold = untold->next;
		free(untold);
	}
}

void owned_end(struct owned *owned)
{
	owned_undo_untold(owned);
	for (size_t word = 0; word < owned->words; word++) {
		while (owned->bits[word] != 0) {
			int bit = __builtin_ctzll(owned->bits[word]);

			owned->bits[word] &= owned->bits[word] - 1;
			close((int)(word * BITS) + bit);
		}
	}
	owned->ended = 1;
	owned_release(owned);
}

void owned_hold(struct owned *owned)
{
	owned->references++;
}

void owned_release(struct owned *owned)
{
	if (--owned->references > 0) return;
	free(owned->spare);
	free(owned->bits);
	free(owned);
}
