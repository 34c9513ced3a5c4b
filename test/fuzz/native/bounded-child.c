/* The descriptors that a child closes: every one except those that it needs, whatever their numbers. */
#include "fuzz.h"
#include <unistd.h>

#define USERNS_RAW_SYSCALL_H
#define NO_STACK_PROTECTOR
#include "kernel/kernel-abi.h"

#define MOST 8

static struct range {
	unsigned first;
	unsigned last;
} closed[MOST];
static int count;

static long raw_syscall5(long number, long a, long b, long c, long d, long e)
{
	(void)c, (void)d, (void)e;
	MUST(number == SYS_close_range && count < MOST);
	MUST((unsigned)a <= (unsigned)b); /* EINVAL otherwise */
	closed[count++] = (struct range){.first = (unsigned)a, .last = (unsigned)b};
	return 0;
}

static long raw_syscall3(long number, long a, long b, long c)
{
	return raw_syscall5(number, a, b, c, 0, 0);
}

#include "child/bounded-child.c"

#define NEEDED 5

static int is_needed(const int numbers[NEEDED], long fd)
{
	for (int i = 0; i < NEEDED; i++) {
		if (numbers[i] == fd) return 1;
	}
	return 0;
}

static int is_closed(unsigned fd)
{
	for (int i = 0; i < count; i++) {
		if (fd >= closed[i].first && fd <= closed[i].last) return 1;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int numbers[NEEDED] = {-1, -1, -1, -1, -1};

	for (size_t i = 0; i < NEEDED && 5 * i + 4 < size; i++) {
		int number;

		memcpy(&number, data + 5 * i + 1, 4);
		/* Mostly close to each other, so that an error by one is detected. */
		numbers[i] = data[5 * i] % 4 == 0 ? number : (int)(data[5 * i + 1] % 12) - 1;
	}
	if (numbers[0] < 0) numbers[0] = 0;
	count = 0;
	close_others(numbers, NEEDED);
	for (int i = 0; i < NEEDED; i++) {
		if (numbers[i] < 0) continue;
		MUST(!is_closed((unsigned)numbers[i]));
		for (int step = -1; step <= 1; step += 2) {
			long beside = (long)numbers[i] + step;

			if (beside >= 0) MUST(is_closed((unsigned)beside) == !is_needed(numbers, beside));
		}
	}
	for (int fd = 0; fd < 16; fd++) {
		MUST(is_closed((unsigned)fd) == !is_needed(numbers, fd));
	}
	MUST(is_closed(0xffffffff));
	return 0;
}
