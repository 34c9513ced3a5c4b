#include "child/bounded-child.h"
#include "child/cpu-binding.h"
#include "kernel/raw-syscall.h"
#include "kernel/signal-mask.h"
#include "kernel/time-limits.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* The timeout of each slice of a wait. A wait that exceeds it is a long wait; a waiter that is ending waits no longer than it. */
#define SLICE_TIMEOUT_MS 50

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bounded_child *abandoned;

void *bounded_child_new(size_t size, struct waiter *waiter)
{
	struct bounded_child *bounded = calloc(1, size);

	if (bounded == NULL) return NULL;
	bounded->child.pidfd = -1;
	bounded->waiter = waiter;
	return bounded;
}

static void reap_abandoned(void)
{
	struct bounded_child **location = &abandoned;

	pthread_mutex_lock(&lock);
	while (*location != NULL) {
		struct bounded_child *bounded = *location;

		if (!child_has_ended(&bounded->child, 0)) {
			location = &bounded->next;
			continue;
		}
		*location = bounded->next;
		child_end(&bounded->child);
		free(bounded);
	}
	pthread_mutex_unlock(&lock);
}

NO_STACK_PROTECTOR static void close_others(const int *needed, int count)
{
	long from = 0; /* a long, because the number behind the largest descriptor does not fit in an int */

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
	/* If a seccomp filter refuses close_range(2), the child continues with more descriptors open. */
	close_others(needed, count);
	bounded->began = 1;
	child_die_with_parent(&bounded->child);
	/* The timer is longer than our own timeout, so that usually we kill the child, and shorter than the abandoning. */
	child_die_after(BOUNDED_CHILD_TIMER_MS);
}

NO_STACK_PROTECTOR int bounded_child_note(struct bounded_child *bounded, long error, const char *step)
{
	bounded->error = (int)error;
	bounded->step = step;
	return (int)error;
}

/* Returns 0, or the reason to kill the child. Waits in slices, so that it notices the end of the waiter. */
static int await_end(const struct bounded_child *bounded)
{
	const long begin = child_now_ms();
	const long end = begin + BOUNDED_CHILD_TIMEOUT_MS;
	const long least = begin + (bounded->undoes ? BOUNDED_CHILD_UNDO_MS : 0);
	struct waiter *waiter = bounded->waiter;
	int error = -ETIMEDOUT;

	if (child_has_ended(&bounded->child, SLICE_TIMEOUT_MS)) return 0;
	if (bounded->child.bound) cpu_unbind_child(bounded->child.pid);
	if (waiter != NULL) waiter->long_wait(waiter, 1);
	while (error == -ETIMEDOUT && child_now_ms() < end) {
		if (waiter != NULL && child_now_ms() >= least && atomic_load(&waiter->ending)) error = -ECANCELED;
		else if (child_has_ended(&bounded->child, SLICE_TIMEOUT_MS)) error = 0;
	}
	if (waiter != NULL) waiter->long_wait(waiter, -1);
	return error;
}

static int start(struct bounded_child *bounded, child_body *body)
{
	struct cpu_binding cpu;
	kernel_sigset before;

	signals_block(&before);
	/* The child starts and ends on our own CPU, because waking another one takes longer than the child's work. */
	cpu_bind(&cpu);
	int error = child_start_here(&bounded->child, CLONE_VM, body, bounded, &cpu);
	cpu_unbind(&cpu);
	signals_set(&before, NULL);
	return error;
}

int bounded_child_run(struct bounded_child *bounded, child_body *body, const char *timeout, const char *killed)
{
	reap_abandoned();
	bounded_child_note(bounded, -EINTR, killed); /* unless the body notes another result */
	int error = start(bounded, body);
	if (error < 0) return bounded_child_note(bounded, error, "clone");
	error = await_end(bounded);
	if (error < 0) {
		child_kill(&bounded->child);
		bounded->abandoned = !child_has_ended(&bounded->child, error == -ECANCELED ? SLICE_TIMEOUT_MS : BOUNDED_CHILD_DEATH_MS);
	}
	if (!bounded->abandoned) child_end(&bounded->child);
	return error == 0 || bounded->error == 0 ? bounded->error : bounded_child_note(bounded, error, timeout);
}

void bounded_child_free(struct bounded_child *bounded)
{
	if (!bounded->abandoned) {
		free(bounded);
		return;
	}
	pthread_mutex_lock(&lock);
	bounded->next = abandoned;
	abandoned = bounded;
	pthread_mutex_unlock(&lock);
}
