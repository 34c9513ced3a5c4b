/*
 * The functions that the harnesses share. Each harness includes a .c file of native/, with its static functions, and replaces the
 * system calls that would read the bytes. libFuzzer calls them (clang), or replay.c (any compiler).
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

/* Ends the harness if a condition does not hold. */
#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* Returns a copy that ends with the input, so that the sanitizer detects a read beyond the end. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text == NULL) abort();
	if (size > 0) memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/* The bytes that a replaced read(2) returns: in pieces, with EINTR at times, and perhaps with an error at the end. */
struct fuzz_source {
	const uint8_t *data;
	size_t size;
	size_t piece;      /* the largest number of bytes for one call; 0: no limit */
	int interrupted;   /* EINTR after this number of calls; 0: never */
	int error;         /* at the end; 0: none */
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

/* The first three bytes choose how the rest is returned. */
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
