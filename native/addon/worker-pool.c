#include "addon/worker-pool.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

/* As many as libuv has, unless it was told otherwise: more do not make it faster where processors are few. */
#define MOST_THREADS 4
/* Includes the threads in a long wait for another user's file system: one held directory must not block unrelated work. */
#define ALL_THREADS 64
/* Who is told of nothing for a while, since other things keep his thread, is not to find thousands of things done. */
#define MOST_UNTOLD (2 * MOST_THREADS)
/* Of a thread that calls the kernel and little else; a child's stack is in it too (child/child.h). */
#define STACK (256 * 1024)

struct crew {
	struct waiter waiter; /* the first member */
	struct crew *next; /* of all in this process that have not ended */
	const struct crew_work *work;
	void *context;
	napi_threadsafe_function teller;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t wake;
	pthread_t threads[ALL_THREADS];
	pthread_t left; /* the last thread that ended as a surplus one, with which those before it are joined */
	int has_left;
	int count;   /* of those that were started and have not left */
	int idle;    /* of those that wait, or were woken and do not know it yet */
	int waiting; /* how many threads are in a long wait, for each of which another thread may work */
	int looking; /* of those that were through with something and look for more */
	int calls;   /* that no thread has answered yet */
	int untold;  /* what is done, and on its way */
	int ending;  /* the threads are to end, or have ended */
};

static void count_told(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	crew->untold--;
	if (crew->calls > 0) pthread_cond_signal(&crew->wake);
	pthread_mutex_unlock(&crew->lock);
}

/* On the environment's thread; without an environment, and perhaps without the crew, when that has ended. */
static void receive(napi_env env, napi_value function, void *context, void *data)
{
	struct crew_load *done = data;
	struct crew *crew = context;

	(void)function;
	if (env == NULL) {
		done->work->drop(done);
		return;
	}
	count_told(crew);
	done->work->tell(env, crew->context, done);
}

/* Refused at the end of the environment only. */
static void deliver(struct crew *crew, struct crew_load *done)
{
	done->work = crew->work;
	if (napi_call_threadsafe_function(crew->teller, done, napi_tsfn_nonblocking) != napi_ok) done->work->drop(done);
}

/* With the lock. */
static int may_work(const struct crew *crew)
{
	return crew->calls > 0 && crew->untold < MOST_UNTOLD + crew->waiting;
}

/* With the lock. */
static int may_start(const struct crew *crew)
{
	return crew->count < MOST_THREADS + crew->waiting && crew->count < ALL_THREADS;
}

/* With the lock. Long waits are over, for which others were started. */
static int is_surplus(const struct crew *crew)
{
	return crew->count > MOST_THREADS + crew->waiting;
}

/* With the lock. False when the thread must end. */
static int await_call(struct crew *crew)
{
	int may = 0;

	crew->idle++;
	while (!crew->ending && !(may = may_work(crew)) && !is_surplus(crew)) pthread_cond_wait(&crew->wake, &crew->lock);
	crew->idle--;
	return may && !crew->ending;
}

/*
 * With the lock, which is let go meanwhile. A call is answered when there is nothing to do any more: whoever puts something
 * calls afterwards, so nothing is left behind.
 */
static void answer_call(struct crew *crew)
{
	int looks = 0; /* 1: counted in crew->looking */

	crew->calls--;
	do {
		struct crew_load *done;

		crew->untold++;
		pthread_mutex_unlock(&crew->lock);
		done = crew->work->work(crew->context);
		pthread_mutex_lock(&crew->lock);
		crew->looking -= looks;
		if (done == NULL) {
			crew->untold--;
			return;
		}
		if (looks && crew->calls > 0) crew->calls--; /* that was for this, or this thread looks for it next */
		/* From the moment at which somebody hears of it. */
		looks = 1;
		crew->looking++;
		pthread_mutex_unlock(&crew->lock);
		deliver(crew, done);
		pthread_mutex_lock(&crew->lock);
	} while (!crew->ending && crew->untold < MOST_UNTOLD + crew->waiting);
	crew->looking--;
	if (crew->calls < MOST_THREADS) crew->calls++; /* there may be more */
}

/*
 * With the lock, which is let go. A surplus thread joins the one that left before it, so that one is left to be joined at the
 * end. A detached one could still run when the add-on is unloaded.
 */
static void leave(struct crew *crew)
{
	const pthread_t before = crew->left;
	const int joins = !crew->ending && crew->has_left;

	if (!crew->ending) {
		int i = 0;

		while (!pthread_equal(crew->threads[i], pthread_self())) i++;
		crew->threads[i] = crew->threads[--crew->count];
		crew->left = pthread_self();
		crew->has_left = 1;
	}
	pthread_mutex_unlock(&crew->lock);
	if (joins) pthread_join(before, NULL);
}

static void *run(void *argument)
{
	struct crew *crew = argument;

	prctl(PR_SET_NAME, "userns");
	pthread_mutex_lock(&crew->lock);
	while (await_call(crew)) answer_call(crew);
	leave(crew);
	return NULL;
}

/* With the lock. */
static void start_thread(struct crew *crew)
{
	pthread_attr_t attributes;
	sigset_t before;
	sigset_t all;

	if (pthread_attr_init(&attributes) != 0) return;
	pthread_attr_setstacksize(&attributes, STACK);
	/* For the thread, which takes it over: no signal of the program's is handled here. libc keeps its own two unblocked. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&crew->threads[crew->count], &attributes, run, crew) == 0) crew->count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
}

int crew_call(struct crew *crew)
{
	int count;

	pthread_mutex_lock(&crew->lock);
	if (crew->calls < MOST_THREADS) crew->calls++;
	if (crew->idle >= crew->calls) pthread_cond_signal(&crew->wake);
	else if (crew->calls > crew->idle + crew->looking && may_start(crew)) start_thread(crew);
	count = crew->count;
	pthread_mutex_unlock(&crew->lock);
	return count > 0;
}

static void change_waiting(struct waiter *waiter, int change)
{
	struct crew *crew = (struct crew *)waiter;

	pthread_mutex_lock(&crew->lock);
	crew->waiting += change;
	if (change > 0 && crew->calls > 0 && !crew->ending) {
		if (crew->idle > 0) pthread_cond_signal(&crew->wake);
		else if (may_start(crew)) start_thread(crew);
	}
	pthread_mutex_unlock(&crew->lock);
}

struct waiter *crew_waiter(struct crew *crew)
{
	return &crew->waiter;
}

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct crew *all;
static pid_t here; /* the process that has the threads; a fork(2) of it has none to be waited for */

static void end_threads(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	crew->ending = 1;
	atomic_store(&crew->waiter.ending, 1);
	pthread_cond_broadcast(&crew->wake);
	pthread_mutex_unlock(&crew->lock);
	for (int i = 0; i < crew->count; i++) pthread_join(crew->threads[i], NULL);
	if (crew->has_left) pthread_join(crew->left, NULL);
	crew->count = crew->has_left = 0;
	if (crew->work->end != NULL) crew->work->end(crew->context);
}

/*
 * process.exit() runs no cleanup hooks, but exit(3). A thread that died in the middle of its work would leave processes that
 * nobody reaps, with a namespace each, and call what is being torn down. The environments of workers have ended by then.
 */
static void end_all(void)
{
	if (getpid() != here) return;
	pthread_mutex_lock(&all_lock);
	for (struct crew *crew = all; crew != NULL; crew = crew->next) end_threads(crew);
	pthread_mutex_unlock(&all_lock);
}

/* Called as soon as there is one: of what atexit(3) was told, the last comes first, before the destructors of Node's own. */
static void enlist(struct crew *crew)
{
	static int told;

	pthread_mutex_lock(&all_lock);
	here = getpid();
	if (!told) told = atexit(end_all) == 0;
	crew->next = all;
	all = crew;
	pthread_mutex_unlock(&all_lock);
}

static void strike_off(struct crew *crew)
{
	struct crew **place = &all;

	pthread_mutex_lock(&all_lock);
	while (*place != NULL && *place != crew) place = &(*place)->next;
	if (*place != NULL) *place = crew->next;
	pthread_mutex_unlock(&all_lock);
}

/* The environment's cleanup hooks run the last one first: the teller's own comes behind this one, and no thread calls it then. */
static void end(void *data)
{
	struct crew *crew = data;

	strike_off(crew);
	end_threads(crew);
}

static int make_teller(struct crew *crew, napi_env env)
{
	napi_value name;

	if (napi_create_string_utf8(env, "userns", NAPI_AUTO_LENGTH, &name) != napi_ok) return 0;
	if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, crew, receive, &crew->teller) != napi_ok) {
		return 0;
	}
	if (napi_unref_threadsafe_function(env, crew->teller) == napi_ok &&
	    napi_add_env_cleanup_hook(env, end, crew) == napi_ok) {
		return 1;
	}
	napi_release_threadsafe_function(crew->teller, napi_tsfn_abort);
	return 0;
}

struct crew *crew_new(napi_env env, const struct crew_work *work, void *context)
{
	struct crew *crew = calloc(1, sizeof *crew);

	if (crew == NULL) return NULL;
	crew->waiter.long_wait = change_waiting;
	crew->work = work;
	crew->context = context;
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->wake, NULL);
	if (make_teller(crew, env)) {
		enlist(crew);
		return crew;
	}
	crew_free(crew);
	return NULL;
}

void crew_hold(struct crew *crew, napi_env env)
{
	napi_ref_threadsafe_function(env, crew->teller);
}

void crew_release(struct crew *crew, napi_env env)
{
	napi_unref_threadsafe_function(env, crew->teller);
}

void crew_free(struct crew *crew)
{
	if (crew == NULL) return;
	pthread_cond_destroy(&crew->wake);
	pthread_mutex_destroy(&crew->lock);
	free(crew);
}
