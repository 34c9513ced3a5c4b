#include "owned.h"
#include <errno.h>
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

int owned_close(struct owned *owned, int fd)
{
	size_t word = (size_t)fd / BITS;
	uint64_t bit = (uint64_t)1 << ((unsigned)fd % BITS); /* a shift by a negative number would be undefined */

	if (fd < 0 || word >= owned->words || (owned->bits[word] & bit) == 0) return -EBADF;
	owned->bits[word] &= ~bit;
	close(fd); /* Linux has let go of the number whatever it answers, so there is nothing to try again */
	return 0;
}

void owned_end(struct owned *owned)
{
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
	free(owned->bits);
	free(owned);
}
