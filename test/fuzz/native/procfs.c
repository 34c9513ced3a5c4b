/* Reads files of /proc in pieces, and parses a pidfd's fdinfo and the status of a thread. */
#include "fuzz.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct fuzz_source source;
static int opened;

static ssize_t fuzz_read(int fd, void *buffer, size_t size)
{
	MUST(fd == 77);
	return fuzz_source_read(&source, buffer, size);
}

static int fuzz_close(int fd)
{
	MUST(fd == 77 && opened > 0);
	opened--;
	return 0;
}

static long fuzz_syscall(long number, ...)
{
	MUST(number == SYS_openat2);
	opened++;
	return 77;
}

#define read fuzz_read
#define close fuzz_close
#define syscall fuzz_syscall
#include "proc/procfs-file.c"
#include "proc/procfs.c"

static void check_read(const uint8_t *data, size_t size)
{
	size_t room = 2 + size % 97;
	char *text = malloc(room);
	long length;

	if (text == NULL) abort();
	source = fuzz_source_of(data, size);
	size_t given = source.size;
	int fails = source.error != 0;
	length = procfs_read(5, "uid_map", text, room);
	if (given >= room - 1) MUST(length == -EFBIG);
	else MUST(fails ? length == -EIO : length == (long)given);
	MUST(strnlen(text, room) < room);
	if (length >= 0) MUST(memcmp(text, data + 3, (size_t)length) == 0 && text[length] == '\0');
	MUST(opened == 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int pidfds[] = {0, 9, 10, 12345, 0x7fffffff};
	int number;

	check_read(data, size);
	source = fuzz_source_of(data, size);
	number = number_in(5, pidfds[size % 5]);
	MUST(number > 0 || (number < 0 && number > -4096));
	MUST(opened == 0);
	source = fuzz_source_of(data, size);
	number = shows_own_numbers(5);
	MUST(number == 0 || number == 1);
	MUST(opened == 0);
	return 0;
}
