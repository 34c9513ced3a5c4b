#include "child/bounded-child.h"
#include "kernel/kernel-abi.h"
#include "child/cpu-binding.h"
#include "kernel/raw-syscall.h"
#include "kernel/signal-mask.h"
#include "kernel/time-limits.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The time after which a wait counts as long, and within which an ending waiter gives up. */
#define LONG_MS 50

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bounded_child *held;

void *bounded_child_new(size_t size, struct waiter *waiter)
{
	struct bounded_child *bounded = calloc(1, size);

	if (bounded == NULL) return NULL;
	bounded->child.pidfd = -1;
	bounded->waiter = waiter;
	return bounded;
}

/* 1 when the child has ended within that time. */
static int has_ended(const struct child *child, int milliseconds)
{
	struct pollfd poller = {.fd = child->pidfd, .events = POLLIN};
	int ready;

	do ready = poll(&poller, 1, milliseconds);
	while (ready < 0 && errno == EINTR);
	return ready != 0; /* an error of poll(2) is none of the child's: then wait for it as for one that has ended */
}

/* Reaps those that were held and have ended since. */
static void reap_held(void)
{
	struct bounded_child **location = &held;

	pthread_mutex_lock(&lock);
	while (*location != NULL) {
		struct bounded_child *bounded = *location;

		if (!has_ended(&bounded->child, 0)) {
			location = &bounded->next;
			continue;
		}
		*location = bounded->next;
		child_end(&bounded->child);
		free(bounded);
	}
	pthread_mutex_unlock(&lock);
}

NO_STACK_PROTECTOR static void keep_needed(const int *needed, int count)
{
	long from = 0; /* one more than the largest descriptor has no place in an int */

	for (int round = 0; round < count; round++) {
		long next = -1;

		for (int i = 0; i < count; i++) {
			if (needed[i] >= from && (next < 0 || needed[i] < next)) next = needed[i];
		}
		if (next < 0) break;
		if (next > from) raw_syscall3(SYS_close_range, from, next - 1, 0);
		from = next + 1;
	}
	raw_syscall3(SYS_close_range, from, ~0U, 0);
}

NO_STACK_PROTECTOR void bounded_child_begin(struct bounded_child *bounded, const int *needed, int count)
{
	/* A close_range(2) that fails (a filter) is no reason to do nothing: the child keeps more, and does the same. */
	keep_needed(needed, count);
	bounded->began = 1;
	child_die_with_parent(&bounded->child);
	/* Behind our own time, so that mostly we are who ends it; before it is given up as held. */
	child_die_after(BOUNDED_CHILD_TIMER_MS);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 0, or the reason to kill the child. Waits in slices, so that it notices the end of the waiter. */
static int await_end(const struct bounded_child *bounded)
{
	const long begin = now_ms();
	const long end = begin + BOUNDED_CHILD_TIMEOUT_MS;
	const long least = begin + (bounded->undoes ? BOUNDED_CHILD_UNDO_MS : 0);
	struct waiter *waiter = bounded->waiter;
	int error = -ETIMEDOUT;

	if (has_ended(&bounded->child, LONG_MS)) return 0;
	if (bounded->child.bound) cpu_unbind_child(bounded->child.pid);
	if (waiter != NULL) waiter->long_wait(waiter, 1);
	while (error == -ETIMEDOUT && now_ms() < end) {
		if (waiter != NULL && now_ms() >= least && atomic_load(&waiter->ending)) error = -ECANCELED;
		else if (has_ended(&bounded->child, LONG_MS)) error = 0;
	}
	if (waiter != NULL) waiter->long_wait(waiter, -1);
	return error;
}

int bounded_child_run(struct bounded_child *bounded, child_body *body, void *argument)
{
	struct cpu_binding cpu;
	kernel_sigset before;
	int error;

	reap_held();
	signals_block(&before);
	/* The child starts and ends on our own processor, because waking another one takes longer than the child's work. */
	cpu_bind(&cpu);
	error = child_start_here(&bounded->child, CLONE_VM, body, argument, &cpu);
	cpu_unbind(&cpu);
	signals_set(&before, NULL);
	if (error < 0) return error;
	error = await_end(bounded);
	if (error < 0) {
		child_kill(&bounded->child);
		bounded->held = !has_ended(&bounded->child, error == -ECANCELED ? LONG_MS : BOUNDED_CHILD_DEATH_MS);
	}
	if (!bounded->held) child_end(&bounded->child);
	return error;
}

void bounded_child_free(struct bounded_child *bounded)
{
	if (!bounded->held) {
		free(bounded);
		return;
	}
	pthread_mutex_lock(&lock);
	bounded->next = held;
	held = bounded;
	pthread_mutex_unlock(&lock);
}
