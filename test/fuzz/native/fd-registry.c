/*
 * The descriptors that an environment owns, against a plain table: each is closed exactly once. The effects that JavaScript has not
 * acknowledged, against a counter: each is undone exactly once.
 */
#include "fuzz.h"
#include <unistd.h>

#define MOST 5000

static int closed[MOST];
static int count;
static int undone[MOST];

static int fuzz_close(int fd)
{
	MUST(fd >= 0 && fd < MOST);
	closed[fd]++;
	count++;
	return 0;
}

#define close fuzz_close
#include "addon/fd-registry.c"

static void note_undone(const struct undo *undo)
{
	undone[undo->fd]++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fd_registry *registry = fd_registry_new();
	static unsigned char has[MOST];
	static unsigned char waits[MOST];
	int expected = 0;

	if (registry == NULL) abort();
	memset(has, 0, sizeof has);
	memset(waits, 0, sizeof waits);
	memset(closed, 0, sizeof closed);
	memset(undone, 0, sizeof undone);
	count = 0;
	for (size_t i = 0; i + 2 < size; i += 3) {
		int fd = (data[i + 1] << 8 | data[i + 2]) % MOST;

		switch (data[i] % 6) {
		case 0:
		case 1:
			MUST(fd_registry_add(registry, fd) == 0);
			has[fd] = 1;
			break;
		case 2:
		case 3:
			MUST((data[i] % 6 == 2 ? fd_registry_close : fd_registry_remove)(registry, fd) == (has[fd] ? 0 : -EBADF));
			if (data[i] % 6 == 2) expected += has[fd];
			if (has[fd]) waits[fd] = 0;
			has[fd] = 0;
			break;
		case 4:
			if (waits[fd]) break;
			fd_registry_unacknowledged(registry, &(struct undo){.run = note_undone, .fd = fd});
			waits[fd] = 1;
			break;
		case 5:
			fd_registry_acknowledge(registry, fd);
			waits[fd] = 0;
			break;
		}
		MUST(count == expected);
	}
	MUST(fd_registry_close(registry, -1) == -EBADF && fd_registry_close(registry, 0x7fffffff) == -EBADF);
	for (int fd = 0; fd < MOST; fd++) closed[fd] = 0;
	fd_registry_free(registry);
	for (int fd = 0; fd < MOST; fd++) MUST(closed[fd] == has[fd] && undone[fd] == waits[fd]);
	return 0;
}
