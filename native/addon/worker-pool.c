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

struct worker_pool {
	struct waiter waiter; /* the first member */
	struct worker_pool *next; /* of all in this process that have not ended */
	const struct worker_pool_work *work;
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
	int unacknowledged;  /* what is done, and on its way */
	int ending;  /* the threads are to end, or have ended */
};

static void count_acknowledged(struct worker_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->unacknowledged--;
	if (pool->calls > 0) pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

/* On the environment's thread; without an environment, and perhaps without the crew, when that has ended. */
static void receive(napi_env env, napi_value function, void *context, void *data)
{
	struct worker_pool_task *done = data;
	struct worker_pool *pool = context;

	(void)function;
	if (env == NULL) {
		done->work->drop(done);
		return;
	}
	count_acknowledged(pool);
	done->work->tell(env, pool->context, done);
}

/* Refused at the end of the environment only. */
static void deliver(struct worker_pool *pool, struct worker_pool_task *done)
{
	done->work = pool->work;
	if (napi_call_threadsafe_function(pool->teller, done, napi_tsfn_nonblocking) != napi_ok) done->work->drop(done);
}

/* With the lock. */
static int may_work(const struct worker_pool *pool)
{
	return pool->calls > 0 && pool->unacknowledged < MOST_UNTOLD + pool->waiting;
}

/* With the lock. */
static int may_start(const struct worker_pool *pool)
{
	return pool->count < MOST_THREADS + pool->waiting && pool->count < ALL_THREADS;
}

/* With the lock. Long waits are over, for which others were started. */
static int is_surplus(const struct worker_pool *pool)
{
	return pool->count > MOST_THREADS + pool->waiting;
}

/* With the lock. False when the thread must end. */
static int await_call(struct worker_pool *pool)
{
	int may = 0;

	pool->idle++;
	while (!pool->ending && !(may = may_work(pool)) && !is_surplus(pool)) pthread_cond_wait(&pool->wake, &pool->lock);
	pool->idle--;
	return may && !pool->ending;
}

/*
 * With the lock, which is let go meanwhile. A call is answered when there is nothing to do any more: whoever puts something
 * calls afterwards, so nothing is left behind.
 */
static void answer_call(struct worker_pool *pool)
{
	int looks = 0; /* 1: counted in crew->looking */

	pool->calls--;
	do {
		struct worker_pool_task *done;

		pool->unacknowledged++;
		pthread_mutex_unlock(&pool->lock);
		done = pool->work->work(pool->context);
		pthread_mutex_lock(&pool->lock);
		pool->looking -= looks;
		if (done == NULL) {
			pool->unacknowledged--;
			return;
		}
		if (looks && pool->calls > 0) pool->calls--; /* that was for this, or this thread looks for it next */
		/* From the moment at which somebody hears of it. */
		looks = 1;
		pool->looking++;
		pthread_mutex_unlock(&pool->lock);
		deliver(pool, done);
		pthread_mutex_lock(&pool->lock);
	} while (!pool->ending && pool->unacknowledged < MOST_UNTOLD + pool->waiting);
	pool->looking--;
	if (pool->calls < MOST_THREADS) pool->calls++; /* there may be more */
}

/*
 * With the lock, which is let go. A surplus thread joins the one that left before it, so that one is left to be joined at the
 * end. A detached one could still run when the add-on is unloaded.
 */
static void leave(struct worker_pool *pool)
{
	const pthread_t before = pool->left;
	const int joins = !pool->ending && pool->has_left;

	if (!pool->ending) {
		int i = 0;

		while (!pthread_equal(pool->threads[i], pthread_self())) i++;
		pool->threads[i] = pool->threads[--pool->count];
		pool->left = pthread_self();
		pool->has_left = 1;
	}
	pthread_mutex_unlock(&pool->lock);
	if (joins) pthread_join(before, NULL);
}

static void *run(void *argument)
{
	struct worker_pool *pool = argument;

	prctl(PR_SET_NAME, "userns");
	pthread_mutex_lock(&pool->lock);
	while (await_call(pool)) answer_call(pool);
	leave(pool);
	return NULL;
}

/* With the lock. */
static void start_thread(struct worker_pool *pool)
{
	pthread_attr_t attributes;
	sigset_t before;
	sigset_t all;

	if (pthread_attr_init(&attributes) != 0) return;
	pthread_attr_setstacksize(&attributes, STACK);
	/* For the thread, which takes it over: no signal of the program's is handled here. libc keeps its own two unblocked. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&pool->threads[pool->count], &attributes, run, pool) == 0) pool->count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
}

int worker_pool_call(struct worker_pool *pool)
{
	int count;

	pthread_mutex_lock(&pool->lock);
	if (pool->calls < MOST_THREADS) pool->calls++;
	if (pool->idle >= pool->calls) pthread_cond_signal(&pool->wake);
	else if (pool->calls > pool->idle + pool->looking && may_start(pool)) start_thread(pool);
	count = pool->count;
	pthread_mutex_unlock(&pool->lock);
	return count > 0;
}

static void change_waiting(struct waiter *waiter, int change)
{
	struct worker_pool *pool = (struct worker_pool *)waiter;

	pthread_mutex_lock(&pool->lock);
	pool->waiting += change;
	if (change > 0 && pool->calls > 0 && !pool->ending) {
		if (pool->idle > 0) pthread_cond_signal(&pool->wake);
		else if (may_start(pool)) start_thread(pool);
	}
	pthread_mutex_unlock(&pool->lock);
}

struct waiter *worker_pool_waiter(struct worker_pool *pool)
{
	return &pool->waiter;
}

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct worker_pool *all;
static pid_t here; /* the process that has the threads; a fork(2) of it has none to be waited for */

static void end_threads(struct worker_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->ending = 1;
	atomic_store(&pool->waiter.ending, 1);
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (int i = 0; i < pool->count; i++) pthread_join(pool->threads[i], NULL);
	if (pool->has_left) pthread_join(pool->left, NULL);
	pool->count = pool->has_left = 0;
	if (pool->work->end != NULL) pool->work->end(pool->context);
}

/*
 * process.exit() runs no cleanup hooks, but exit(3). A thread that died in the middle of its work would leave processes that
 * nobody reaps, with a namespace each, and call what is being torn down. The environments of workers have ended by then.
 */
static void end_all(void)
{
	if (getpid() != here) return;
	pthread_mutex_lock(&all_lock);
	for (struct worker_pool *pool = all; pool != NULL; pool = pool->next) end_threads(pool);
	pthread_mutex_unlock(&all_lock);
}

/* Called as soon as there is one: of what atexit(3) was told, the last comes first, before the destructors of Node's own. */
static void enlist(struct worker_pool *pool)
{
	static int told;

	pthread_mutex_lock(&all_lock);
	here = getpid();
	if (!told) told = atexit(end_all) == 0;
	pool->next = all;
	all = pool;
	pthread_mutex_unlock(&all_lock);
}

static void strike_off(struct worker_pool *pool)
{
	struct worker_pool **location = &all;

	pthread_mutex_lock(&all_lock);
	while (*location != NULL && *location != pool) location = &(*location)->next;
	if (*location != NULL) *location = pool->next;
	pthread_mutex_unlock(&all_lock);
}

/* The environment's cleanup hooks run the last one first: the teller's own comes behind this one, and no thread calls it then. */
static void end(void *data)
{
	struct worker_pool *pool = data;

	strike_off(pool);
	end_threads(pool);
}

static int make_teller(struct worker_pool *pool, napi_env env)
{
	napi_value name;

	if (napi_create_string_utf8(env, "userns", NAPI_AUTO_LENGTH, &name) != napi_ok) return 0;
	if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, pool, receive, &pool->teller) != napi_ok) {
		return 0;
	}
	if (napi_unref_threadsafe_function(env, pool->teller) == napi_ok &&
	    napi_add_env_cleanup_hook(env, end, pool) == napi_ok) {
		return 1;
	}
	napi_release_threadsafe_function(pool->teller, napi_tsfn_abort);
	return 0;
}

struct worker_pool *worker_pool_new(napi_env env, const struct worker_pool_work *work, void *context)
{
	struct worker_pool *pool = calloc(1, sizeof *pool);

	if (pool == NULL) return NULL;
	pool->waiter.long_wait = change_waiting;
	pool->work = work;
	pool->context = context;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	if (make_teller(pool, env)) {
		enlist(pool);
		return pool;
	}
	worker_pool_free(pool);
	return NULL;
}

void worker_pool_hold(struct worker_pool *pool, napi_env env)
{
	napi_ref_threadsafe_function(env, pool->teller);
}

void worker_pool_release(struct worker_pool *pool, napi_env env)
{
	napi_unref_threadsafe_function(env, pool->teller);
}

void worker_pool_free(struct worker_pool *pool)
{
	if (pool == NULL) return;
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
