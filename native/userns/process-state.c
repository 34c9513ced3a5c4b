#include "userns/process-state.h"
#include "kernel/kernel-abi.h"
#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* Linux 4.17 */
#endif

/*
 * Every version of the package uses this address, because copies share nothing else: each C library finds symbols
 * differently, and other programs can change a file or an environment variable. Neither the kernel's layout
 * (arch_pick_mmap_layout()) nor the hints of V8 (below 2^46 on x86-64, 2^38 on arm64) come near it, and it exists on an arm64
 * kernel with 39-bit addresses.
 */
#if defined(__x86_64__)
#define ADDRESS 0x4a0000000000
#else
#define ADDRESS 0x6000000000
#endif
#define MAGIC 0x75736e73 /* "usns" */

_Static_assert(sizeof(struct process_state) == 80, "copies of other versions use the same layout");
_Static_assert(offsetof(struct process_state, lock) == 16, "copies of other versions use the same layout");

/* Compares with futex(2), which does not wait here, because the mapping at that address may be unreadable (EFAULT). */
static int is_ours(const struct process_state *state)
{
	const struct timespec now = {0, 0};

	return syscall(SYS_futex, &state->magic, FUTEX_WAIT_PRIVATE, MAGIC, &now, NULL, 0) < 0 && errno == ETIMEDOUT;
}

/* The kernel decides which copy maps the page. A copy that checks before the magic number is written gets NULL. */
static struct process_state *find(void)
{
	struct process_state *state = (struct process_state *)ADDRESS;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	long made = syscall(SYS_mmap, state, sizeof *state, PROT_READ | PROT_WRITE, flags, -1, 0L);

	if (made == ADDRESS) {
		atomic_store(&state->magic, MAGIC);
		return state;
	}
	if (made != -1) syscall(SYS_munmap, made, sizeof *state); /* an emulator may treat the address as a hint */
	return is_ours(state) ? state : NULL;
}

struct process_state *process_state(void)
{
	static _Atomic(struct process_state *) known;
	struct process_state *state = atomic_load_explicit(&known, memory_order_acquire);

	if (state == NULL) {
		state = find();
		atomic_store_explicit(&known, state, memory_order_release);
	}
	return state;
}
