/* Reads the kernel's log of a refused overlay, and makes the text with every lower layer for kernels before 6.5. */
#include "fuzz.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define USERNS_RAW_SYSCALL_H
#define NO_STACK_PROTECTOR
#include "kernel/kernel-abi.h"

static struct fuzz_source source;
static const int *layers;
static size_t count;
static int complete; /* every layer was passed */
static int refusal; /* the error of such a kernel for a descriptor */

static ssize_t fuzz_read(int fd, void *buffer, size_t size)
{
	MUST(fd == 77);
	return fuzz_source_read(&source, buffer, size);
}

/* fsconfig(2) of such a kernel: it accepts neither descriptors nor "lowerdir+". */
static long raw_syscall5(long number, long context, long command, long key, long value, long aux)
{
	const char *text = (const char *)value;

	(void)aux;
	MUST(number == SYS_fsconfig && context == 77);
	if (command != 1 /* FSCONFIG_SET_STRING */) return refusal;
	if (strcmp((const char *)key, "lowerdir") != 0) return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		char expected[40];
		const char *folder = refusal == -EOPNOTSUPP ? "" : "/proc/thread-self/fd/";
		int length = snprintf(expected, sizeof expected, "%s%s%d", i > 0 ? ":" : "", folder, layers[i]);

		MUST(strncmp(text, expected, (size_t)length) == 0);
		text += length;
	}
	MUST(*text == '\0');
	complete = 1;
	return 0;
}

static long raw_syscall3(long number, long a, long b, long c)
{
	return raw_syscall5(number, a, b, c, 0, 0);
}

__attribute__((noreturn)) static void raw_exit(int status)
{
	(void)status;
	abort();
}

#define read fuzz_read
#include "mount/overlay.c"

int mount_note_ids(int fd, struct outcome *out)
{
	(void)fd, (void)out;
	abort();
}

long upper_layer_is_new(int fd)
{
	(void)fd;
	abort();
}

long upper_layer_prepare(int overlay, int lower, const uint32_t unmapped[2])
{
	(void)overlay, (void)lower, (void)unmapped;
	abort();
}

int procfs_own_fd(int fd, char name[PROCFS_NAME])
{
	return snprintf(name, PROCFS_NAME, "/proc/thread-self/fd/%d", fd) < PROCFS_NAME ? 0 : -ERANGE;
}

void *bounded_child_new(size_t size, struct waiter *waiter)
{
	(void)size, (void)waiter;
	abort();
}

int bounded_child_run(struct bounded_child *bounded, child_body *body, const char *timeout, const char *killed)
{
	(void)bounded, (void)body, (void)timeout, (void)killed;
	abort();
}

int bounded_child_note(struct bounded_child *bounded, long error, const char *step)
{
	(void)bounded, (void)error, (void)step;
	abort();
}

void bounded_child_free(struct bounded_child *bounded)
{
	(void)bounded;
	abort();
}

void bounded_child_begin(struct bounded_child *bounded, const int *needed, int count)
{
	(void)bounded, (void)needed, (void)count;
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int *list = malloc(size / 4 * sizeof *list + 1);
	struct overlay_request request = {.upper = -1, .work = -1};
	char *log;
	size_t length;

	if (list == NULL) abort();
	count = size / 4;
	for (size_t i = 0; i < count; i++) {
		uint32_t number;

		memcpy(&number, data + 4 * i, 4);
		list[i] = (int)(number & 0x7fffffff);
	}
	layers = list;
	request.lower = list;
	request.count = count;
	complete = 0;
	refusal = size % 2 == 0 ? -EOPNOTSUPP : -EINVAL;
	if (count > 0) { /* a request has at least one layer */
		struct findings found = {0};
		size_t bytes = count - 1;

		for (size_t i = 0; i < count; i++) {
			bytes += (size_t)snprintf(NULL, 0, "%s%d", refusal == -EOPNOTSUPP ? "" : "/proc/thread-self/fd/", list[i]);
		}
		MUST(set_lower(77, &request, &found) == (bytes > 255 ? -E2BIG : 0) && complete == (bytes <= 255));
		MUST(found.by_number == (refusal == -EOPNOTSUPP));
	}
	source = fuzz_source_of(data, size);
	source.interrupted = 0; /* read(2) of the kernel's log is not interrupted */
	length = source.size < LOG_BYTES - 1 ? source.size : LOG_BYTES - 1;
	log = read_log(77);
	MUST(log != NULL && memchr(log, '\0', LOG_BYTES) != NULL);
	MUST(length == 0 || memcmp(log, data + 3, length) == 0);
	free(log);
	free(list);
	return 0;
}
