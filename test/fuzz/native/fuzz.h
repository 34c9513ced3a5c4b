/*
 * The common part of the harnesses. Each harness includes the very file of native/, with its static functions, and
 * replaces the system calls that would read the bytes. libFuzzer calls it (clang), or replay.c (any compiler).
 */
#ifndef USERNS_FUZZ_H
#define USERNS_FUZZ_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The oracle is violated. */
#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* A copy that ends where the input does, so that a read past the end shows. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text == NULL) abort();
	if (size > 0) memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/* The bytes that a stubbed read(2) returns: in chunks, sometimes interrupted, at the end perhaps with an error. */
struct fuzz_source {
	const uint8_t *data;
	size_t size;
	size_t piece;      /* the most bytes of one call; 0: as many as requested */
	int interrupted;   /* how often a call fails with EINTR: every n-th time; 0: never */
	int error;         /* the errno in place of the end */
	unsigned calls;
};

static inline ssize_t fuzz_source_read(struct fuzz_source *source, void *buffer, size_t size)
{
	source->calls++;
	if (source->interrupted > 0 && source->calls % (unsigned)(source->interrupted + 1) == 0) {
		errno = EINTR;
		return -1;
	}
	if (source->size == 0 && source->error != 0) {
		errno = source->error;
		return -1;
	}
	if (size > source->size) size = source->size;
	if (source->piece > 0 && size > source->piece) size = source->piece;
	if (size > 0) memcpy(buffer, source->data, size);
	source->data += size;
	source->size -= size;
	return (ssize_t)size;
}

/* The first three bytes decide how the rest is returned. */
static inline struct fuzz_source fuzz_source_of(const uint8_t *data, size_t size)
{
	struct fuzz_source source = {.data = data};

	if (size < 3) return source;
	source.piece = data[0] % 64;
	source.interrupted = data[1] % 8;
	source.error = data[2] % 4 == 3 ? EIO : 0;
	source.data = data + 3;
	source.size = size - 3;
	return source;
}

#endif
