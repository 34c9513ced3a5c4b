#include "processor.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POSSIBLE "/sys/devices/system/cpu/possible"

/* The processors that the machine can ever have: fixed at boot (cpu_possible_mask). 0: not known, and not asked again. */
static atomic_int possible = -1;

/* "0-N", as every machine without holes in its numbers has it, or "0"; 0 for anything else. */
static int read_possible(void)
{
	char text[32];
	char *end = text;
	int fd = open(POSSIBLE, O_RDONLY | O_CLOEXEC);
	ssize_t length;
	long last = 0;

	if (fd < 0) return 0;
	do length = read(fd, text, sizeof text - 1);
	while (length < 0 && errno == EINTR);
	close(fd);
	if (length <= 0) return 0;
	text[length] = '\0';
	if (text[0] != '0') return 0;
	if (text[1] == '-') last = strtol(text + 2, &end, 10);
	else end = text + 1;
	if (*end != '\n' && *end != '\0') return 0;
	return last >= 0 && last < CPU_SETSIZE ? (int)last + 1 : 0;
}

static int count_possible(void)
{
	int count = atomic_load_explicit(&possible, memory_order_relaxed);

	if (count < 0) {
		count = read_possible();
		atomic_store_explicit(&possible, count, memory_order_relaxed);
	}
	return count;
}

/*
 * Only a thread that may run everywhere is bound. Since Linux 6.2 (commit 8f9ea86fdf99) the kernel keeps what a thread
 * asked for beside what its cpuset lets it have, and tells nobody: a thread without a wish follows a cpuset that
 * grows, and one that "got its old mask back" would not. But where the mask has every processor that there can be,
 * there is neither a wish nor a cpuset that leaves one out, and asking for all of them is the same as no wish.
 */
void processor_bind(struct processor *processor)
{
	cpu_set_t mask;
	int count = count_possible();
	int here;

	processor->bound = 0;
	if (count < 2) return;
	CPU_ZERO(&mask);
	if (sched_getaffinity(0, sizeof mask, &mask) < 0 || CPU_COUNT(&mask) != count) return;
	here = sched_getcpu();
	if (here < 0 || here >= count) return;
	CPU_ZERO(&processor->only);
	CPU_SET(here, &processor->only);
	processor->bound = sched_setaffinity(0, sizeof processor->only, &processor->only) == 0;
}

void processor_unbind(const struct processor *processor)
{
	cpu_set_t mask;

	if (!processor->bound) return;
	/* Somebody else (taskset(1), a cpuset that changed) decided about this thread meanwhile: that stands. */
	CPU_ZERO(&mask);
	if (sched_getaffinity(0, sizeof mask, &mask) == 0 && !CPU_EQUAL(&mask, &processor->only)) return;
	memset(&mask, 0xff, sizeof mask);
	sched_setaffinity(0, sizeof mask, &mask);
}
