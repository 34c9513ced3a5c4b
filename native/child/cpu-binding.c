#include "child/cpu-binding.h"
#include "kernel/kernel-abi.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

/* How many processors the machine can ever have: fixed at boot. 0: that cannot be told; −1: it was not asked yet. */
static atomic_int possible = -1;

/* "0-N", as every machine without holes in its numbers has it; 0 for anything else. */
static int parse_possible(const char *text)
{
	char *end;
	long last;

	if (strncmp(text, "0-", 2) != 0) return 0;
	last = strtol(text + 2, &end, 10);
	return *end == '\n' && last > 0 && last < CPU_SETSIZE ? (int)last + 1 : 0;
}

static int read_possible(void)
{
	char text[32] = "";
	struct statfs fs;
	int fd = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
	ssize_t length = 0;

	if (fd < 0) return errno == ENOENT ? 0 : -1; /* out of descriptors: another time */
	/* Some containers show a file of their own there. */
	if (fstatfs(fd, &fs) == 0 && fs.f_type == USERNS_SYSFS_MAGIC) length = read(fd, text, sizeof text - 1);
	close(fd);
	return length > 0 ? parse_possible(text) : 0;
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
static int bind_here(struct cpu_binding *cpu)
{
	cpu_set_t mask;
	int count = count_possible();
	int here;

	if (count < 2) return 0;
	CPU_ZERO(&mask);
	if (sched_getaffinity(0, sizeof mask, &mask) < 0 || CPU_COUNT(&mask) != count) return 0;
	here = sched_getcpu();
	if (here < 0 || here >= count) return 0;
	CPU_ZERO(&cpu->only);
	CPU_SET(here, &cpu->only);
	return sched_setaffinity(0, sizeof cpu->only, &cpu->only) == 0;
}

void cpu_bind(struct cpu_binding *cpu)
{
	cpu->bound = bind_here(cpu);
}

/* Somebody else (taskset(1), a cpuset that changed) may have decided about this thread meanwhile: that stands. */
static int is_as_bound(const struct cpu_binding *cpu)
{
	cpu_set_t mask;

	CPU_ZERO(&mask);
	return sched_getaffinity(0, sizeof mask, &mask) < 0 || CPU_EQUAL(&mask, &cpu->only);
}

void cpu_unbind(struct cpu_binding *cpu)
{
	if (cpu->bound && is_as_bound(cpu)) cpu_unbind_child(0);
	cpu->bound = 0;
}

void cpu_unbind_child(pid_t thread)
{
	cpu_set_t mask;

	memset(&mask, 0xff, sizeof mask); /* the kernel takes of it what there is */
	sched_setaffinity(thread, sizeof mask, &mask);
}
