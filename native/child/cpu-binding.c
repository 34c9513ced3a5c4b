#include "child/cpu-binding.h"
#include "kernel/kernel-abi.h"
#include "kernel/portable.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

/* The number of possible CPUs, which is fixed at boot. 0: not known; −1: not read yet. */
static atomic_int possible = -1;

/* Parses "0-N", the list of a machine without gaps in its CPU numbers. Returns 0 for any other list. */
static int parse_possible(const char *text)
{
	char *end;
	long last;

	if (strncmp(text, "0-", 2) != 0) return 0;
	last = portable_strtol(text + 2, &end, 10);
	return *end == '\n' && last > 0 && last < CPU_SETSIZE ? (int)last + 1 : 0;
}

static int read_possible(void)
{
	char text[32] = "";
	struct statfs fs;
	int fd = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
	ssize_t length = 0;

	if (fd < 0) return errno == ENOENT ? 0 : -1; /* no free descriptor: try again later */
	/* Some containers mount another file there. */
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
 * Binds only a thread that may run on every CPU. Since Linux 6.2 (commit 8f9ea86fdf99) the kernel stores the mask that a thread
 * requested besides the one that its cpuset allows, and no interface shows it: a thread without a request follows a cpuset
 * that grows, and a thread whose old mask was set again does not. If the mask has every possible CPU, there is neither a request
 * nor a cpuset that excludes one, and a request for all of them is equivalent to none.
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

/* A mask that was changed meanwhile, by taskset(1) or a cpuset, stays in force. */
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

	memset(&mask, 0xff, sizeof mask); /* the kernel ignores CPUs that do not exist */
	sched_setaffinity(thread, sizeof mask, &mask);
}
