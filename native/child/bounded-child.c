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
static struct errand *held;

void *errand_new(size_t size, struct waiter *waiter)
{
	struct errand *errand = calloc(1, size);

	if (errand == NULL) return NULL;
	errand->child.pidfd = -1;
	errand->waiter = waiter;
	return errand;
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
	struct errand **place = &held;

	pthread_mutex_lock(&lock);
	while (*place != NULL) {
		struct errand *errand = *place;

		if (!has_ended(&errand->child, 0)) {
			place = &errand->next;
			continue;
		}
		*place = errand->next;
		child_end(&errand->child);
		free(errand);
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

NO_STACK_PROTECTOR void errand_begin(struct errand *errand, const int *needed, int count)
{
	/* A close_range(2) that fails (a filter) is no reason to do nothing: the child keeps more, and does the same. */
	keep_needed(needed, count);
	errand->began = 1;
	child_die_with_parent(&errand->child);
	/* Behind our own time, so that mostly we are who ends it; before it is given up as held. */
	child_die_after(ERRAND_TIMER_MS);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 0, or the reason to kill the child. Waits in slices, so that it notices the end of the waiter. */
static int await_end(const struct errand *errand)
{
	const long begin = now_ms();
	const long end = begin + ERRAND_WAIT_MS;
	const long least = begin + (errand->undoes ? ERRAND_UNDO_MS : 0);
	struct waiter *waiter = errand->waiter;
	int error = -ETIMEDOUT;

	if (has_ended(&errand->child, LONG_MS)) return 0;
	if (errand->child.bound) processor_free(errand->child.pid);
	if (waiter != NULL) waiter->long_wait(waiter, 1);
	while (error == -ETIMEDOUT && now_ms() < end) {
		if (waiter != NULL && now_ms() >= least && atomic_load(&waiter->ending)) error = -ECANCELED;
		else if (has_ended(&errand->child, LONG_MS)) error = 0;
	}
	if (waiter != NULL) waiter->long_wait(waiter, -1);
	return error;
}

int errand_run(struct errand *errand, child_body *body, void *argument)
{
	struct processor processor;
	kernel_sigset before;
	int error;

	reap_held();
	signals_block(&before);
	/* The child starts and ends on our own processor, because waking another one takes longer than the child's work. */
	processor_bind(&processor);
	error = child_start_here(&errand->child, CLONE_VM, body, argument, &processor);
	processor_unbind(&processor);
	signals_set(&before, NULL);
	if (error < 0) return error;
	error = await_end(errand);
	if (error < 0) {
		child_kill(&errand->child);
		errand->held = !has_ended(&errand->child, error == -ECANCELED ? LONG_MS : ERRAND_DEATH_MS);
	}
	if (!errand->held) child_end(&errand->child);
	return error;
}

void errand_free(struct errand *errand)
{
	if (!errand->held) {
		free(errand);
		return;
	}
	pthread_mutex_lock(&lock);
	errand->next = held;
	held = errand;
	pthread_mutex_unlock(&lock);
}
