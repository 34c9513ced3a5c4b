/* The set of descriptors that an environment owns, against a plain table: none is closed twice, none is forgotten. */
#include "fuzz.h"
#include <unistd.h>

#define MOST 5000

static int closed[MOST];
static int count;

static int fuzz_close(int fd)
{
	MUST(fd >= 0 && fd < MOST);
	closed[fd]++;
	count++;
	return 0;
}

#define close fuzz_close
#include "addon/fd-registry.c"

/* None of these descriptors is a mount's. */
int mount_detach(int mount_ns, int fd, uint64_t unique, struct waiter *waiter)
{
	(void)mount_ns, (void)fd, (void)unique, (void)waiter;
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fd_registry *registry = fd_registry_new();
	static unsigned char has[MOST];
	int expected = 0;
	int held = 0;

	if (registry == NULL) abort();
	memset(has, 0, sizeof has);
	memset(closed, 0, sizeof closed);
	count = 0;
	for (size_t i = 0; i + 2 < size; i += 3) {
		int fd = (data[i + 1] << 8 | data[i + 2]) % MOST;

		if (data[i] % 4 < 2) {
			MUST(fd_registry_add(registry, fd) == 0);
			has[fd] = 1;
		} else if (data[i] % 4 == 2) {
			MUST(fd_registry_close(registry, fd) == (has[fd] ? 0 : -EBADF));
			expected += has[fd];
			has[fd] = 0;
		} else if (held < 3) {
			fd_registry_hold(registry);
			held++;
		}
		MUST(count == expected);
	}
	MUST(fd_registry_close(registry, -1) == -EBADF && fd_registry_close(registry, 0x7fffffff) == -EBADF);
	for (int fd = 0; fd < MOST; fd++) closed[fd] = 0;
	fd_registry_end(registry);
	for (int fd = 0; fd < MOST; fd++) MUST(closed[fd] == has[fd]);
	if (held > 0) MUST(fd_registry_add(registry, 7) == -EBADF && closed[7] == has[7] + 1);
	while (held-- > 0) fd_registry_release(registry);
	return 0;
}
