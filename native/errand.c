#include "errand.h"
#include "compat.h"
#include "raw.h"
#include "time-limits.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct errand *held;

void *errand_new(size_t size)
{
	struct errand *errand = calloc(1, size);

	if (errand != NULL) errand->child.pidfd = -1;
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

NO_STACK_PROTECTOR void errand_begin(const struct errand *errand)
{
	child_die_with_parent(&errand->child);
	/* Behind our own time, so that mostly we are who ends it; before it is given up as held. */
	child_die_after(ERRAND_TIMER_MS);
}

int errand_run(struct errand *errand, child_body *body, void *argument)
{
	int error;

	reap_held();
	error = child_start(&errand->child, CLONE_VM | CLONE_FILES, body, argument);
	if (error < 0) return error;
	if (!has_ended(&errand->child, ERRAND_WAIT_MS)) {
		error = -ETIMEDOUT;
		child_kill(&errand->child);
		errand->held = !has_ended(&errand->child, ERRAND_DEATH_MS);
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
