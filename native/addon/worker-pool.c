#include "addon/worker-pool.h"
#include "kernel/portable.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

/* The default of libuv's pool. More threads do not make it faster where CPUs are few. */
#define MOST_THREADS 4
/* Slow tasks that run at the same time, on additional threads. */
#define MOST_SLOW 4
/* Includes the threads in a long wait for another user's file system: one held directory must not block unrelated work. */
#define ALL_THREADS 64
/* Limits undelivered results, so that a busy event loop is not handed thousands at once. */
#define MOST_UNDELIVERED (2 * MOST_THREADS)
/* For a thread that mostly makes system calls; the stack of a child is on it too (child/child.h). */
#define STACK (256 * 1024)

struct queue {
	struct task *first;
	struct task **end;
	int count;
};

struct worker_pool {
	struct waiter waiter; /* the first member */
	struct worker_pool *next; /* in the list of all pools of this process that have not ended */
	struct fd_registry *registry;
	napi_threadsafe_function receiver; /* calls receive() on the environment's thread */
	int underway; /* tasks that were submitted and not delivered; used on the environment's thread only */
	pthread_mutex_t lock; /* protects what follows */
	pthread_cond_t wake;
	struct queue ordinary;
	struct queue slow;
	pthread_t threads[ALL_THREADS];
	pthread_t left; /* the last surplus thread that ended; it has joined the one before it */
	int has_left;
	int count;       /* threads that were started and have not left */
	int idle;        /* threads that wait for a task, or were woken and do not run yet */
	int running_slow;
	int waiting;     /* threads in a long wait or with a slow task, for each of which another thread may run */
	int searching;   /* threads that deliver, and look for another task right afterwards */
	int undelivered; /* runs whose results JavaScript does not have yet, begun ones included */
	struct task *deliveries; /* the results on their way to JavaScript */
	int ending;      /* the threads must end, or have ended */
};

static void put(struct queue *queue, struct task *task)
{
	if (queue->first == NULL) queue->end = &queue->first;
	*queue->end = task;
	queue->end = &task->next;
	queue->count++;
}

/* With the lock. The tasks that may run, apart from the limit of undelivered results. */
static int count_ready(const struct worker_pool *pool)
{
	const int room = MOST_SLOW - pool->running_slow;

	return pool->ordinary.count + (pool->slow.count < room ? pool->slow.count : room);
}

/* With the lock. The first task, if it is of that kind; NULL: of any kind, when one is ready. */
static struct task *take(struct worker_pool *pool, const struct task_kind *kind)
{
	struct queue *queue = pool->ordinary.count > 0 ? &pool->ordinary : &pool->slow;
	struct task *task = queue->first;

	if (task == NULL || (kind != NULL && task->kind != kind)) return NULL;
	queue->first = task->next;
	queue->count--;
	task->next = NULL;
	return task;
}

void tasks_drop(struct task *tasks)
{
	while (tasks != NULL) {
		struct task *next = tasks->next;

		result_drop(&tasks->result);
		tasks->kind->free(tasks);
		tasks = next;
	}
}

int keep_thrown(napi_env env, napi_value *thrown)
{
	bool pending = false;

	if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) return 0;
	napi_get_and_clear_last_exception(env, thrown);
	return 1;
}

/* With the lock. */
static void remove_delivery(struct worker_pool *pool, const struct task *tasks)
{
	struct task **link = &pool->deliveries;

	while (*link != NULL && *link != tasks) link = &(*link)->next_undelivered;
	if (*link != NULL) *link = tasks->next_undelivered;
}

static void count_delivered(struct worker_pool *pool, const struct task *tasks)
{
	pthread_mutex_lock(&pool->lock);
	remove_delivery(pool, tasks);
	pool->undelivered--;
	if (count_ready(pool) > 0) pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

/* On the environment's thread. If the environment has ended, `env` is NULL and the pool may no longer exist. */
static void receive(napi_env env, napi_value function, void *context, void *data)
{
	struct worker_pool *pool = context;
	struct task *tasks = data;
	napi_value thrown = NULL;

	(void)function;
	if (env == NULL) {
		tasks_drop(tasks);
		return;
	}
	count_delivered(pool, tasks);
	while (tasks != NULL) {
		struct task *next = tasks->next;

		tasks->next = NULL;
		pool->underway--;
		tasks->kind->deliver(env, tasks, &thrown);
		tasks = next;
	}
	if (pool->underway == 0) napi_unref_threadsafe_function(env, pool->receiver);
	if (thrown != NULL) napi_fatal_exception(env, thrown); /* an uncaught one: napi_throw() would only warn of it here */
}

/* With the lock. */
static int may_run(const struct worker_pool *pool)
{
	return count_ready(pool) > 0 && pool->undelivered < MOST_UNDELIVERED + pool->waiting;
}

/* With the lock. */
static int may_start(const struct worker_pool *pool)
{
	return pool->count < MOST_THREADS + pool->waiting && pool->count < ALL_THREADS;
}

/* With the lock. Long waits for which more threads were started have ended. */
static int is_surplus(const struct worker_pool *pool)
{
	return pool->count > MOST_THREADS + pool->waiting;
}

/* With the lock. Takes the next task. NULL when the thread must end. */
static struct task *await_task(struct worker_pool *pool)
{
	int may = 0;

	pool->idle++;
	while (!pool->ending && !(may = may_run(pool)) && !is_surplus(pool)) pthread_cond_wait(&pool->wake, &pool->lock);
	pool->idle--;
	return may && !pool->ending ? take(pool, NULL) : NULL;
}

static void *run_thread(void *argument);

/* With the lock. */
static void start_thread(struct worker_pool *pool)
{
	pthread_attr_t attributes;
	sigset_t before;
	sigset_t all;

	if (pthread_attr_init(&attributes) != 0) return;
	pthread_attr_setstacksize(&attributes, STACK);
	/* The thread inherits the mask: it handles no signal of the program. libc keeps its own two signals unblocked. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&pool->threads[pool->count], &attributes, run_thread, pool) == 0) pool->count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
}

/* With the lock. Wakes or starts a thread, unless the threads that search take everything that is ready. */
static void wake_thread(struct worker_pool *pool)
{
	const int ready = count_ready(pool);
	const int needed = (ready < MOST_THREADS ? ready : MOST_THREADS) - pool->searching;

	if (needed > pool->idle && may_start(pool)) start_thread(pool);
	else if (needed > 0 && pool->idle > 0) pthread_cond_signal(&pool->wake);
}

/* With the lock. A long wait begins (1) or ends (−1), during which another thread may run. */
static void change_waiting(struct worker_pool *pool, int change)
{
	pool->waiting += change;
	if (change > 0 && !pool->ending) wake_thread(pool);
}

static void change_slow(struct worker_pool *pool, int change)
{
	pool->running_slow += change;
	change_waiting(pool, change);
}

/*
 * With the lock, which is released during a run. Runs a task that was taken and those of the same kind behind it. Takes more
 * after a run, because tasks that arrive meanwhile then need no separate wake-up of the event loop.
 */
static void run_tasks(struct worker_pool *pool, struct task *first)
{
	const struct task_kind *const kind = first->kind;
	struct task *some = first;
	int total = 0;

	while (some != NULL) {
		struct task *last = some;
		int count = 1;

		while (count < kind->most_together && (last->next = take(pool, kind)) != NULL) {
			last = last->next;
			count++;
		}
		if (kind->is_slow) change_slow(pool, 1);
		pthread_mutex_unlock(&pool->lock);
		kind->run(some, count, &pool->waiter);
		pthread_mutex_lock(&pool->lock);
		if (kind->is_slow) change_slow(pool, -1);
		total += count;
		if (pool->ending || total + kind->most_together > kind->most_delivered) break;
		some = last->next = take(pool, kind);
	}
}

/* With the lock, which is released meanwhile. Node refuses at the end of the environment only. */
static void deliver(struct worker_pool *pool, struct task *tasks)
{
	tasks->next_undelivered = pool->deliveries;
	pool->deliveries = tasks;
	pool->searching++; /* from the moment at which JavaScript may submit the next task */
	pthread_mutex_unlock(&pool->lock);
	if (napi_call_threadsafe_function(pool->receiver, tasks, napi_tsfn_nonblocking) == napi_ok) tasks = NULL;
	pthread_mutex_lock(&pool->lock);
	pool->searching--;
	if (tasks == NULL) return;
	remove_delivery(pool, tasks);
	pthread_mutex_unlock(&pool->lock);
	tasks_drop(tasks);
	pthread_mutex_lock(&pool->lock);
}

/*
 * With the lock, which is released. A surplus thread joins the one that left before it, so that one is left to be joined at the
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

static void *run_thread(void *argument)
{
	struct worker_pool *pool = argument;
	struct task *task;

	prctl(PR_SET_NAME, "userns");
	pthread_mutex_lock(&pool->lock);
	while ((task = await_task(pool)) != NULL) {
		pool->undelivered++;
		run_tasks(pool, task);
		deliver(pool, task);
	}
	leave(pool);
	return NULL;
}

/* With the lock, which is released meanwhile. Not even the first thread can be started: only this task is in the queue. */
static void run_without_thread(struct worker_pool *pool, struct task *task)
{
	take(pool, NULL);
	pool->undelivered++;
	pthread_mutex_unlock(&pool->lock);
	if (task->kind->is_short) task->kind->run(task, 1, NULL);
	else outcome_fail(&task->result.out, -EAGAIN, "thread");
	pthread_mutex_lock(&pool->lock);
	deliver(pool, task);
}

void worker_pool_submit(struct worker_pool *pool, napi_env env, struct task *task)
{
	if (pool->underway++ == 0) napi_ref_threadsafe_function(env, pool->receiver);
	pthread_mutex_lock(&pool->lock);
	put(task->kind->is_slow ? &pool->slow : &pool->ordinary, task);
	wake_thread(pool);
	if (pool->count == 0) run_without_thread(pool, task);
	pthread_mutex_unlock(&pool->lock);
}

static void long_wait(struct waiter *waiter, int change)
{
	struct worker_pool *pool = (struct worker_pool *)waiter;

	pthread_mutex_lock(&pool->lock);
	change_waiting(pool, change);
	pthread_mutex_unlock(&pool->lock);
}

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct worker_pool *all;
static pid_t owner; /* the process that has the threads; a child of fork(2) has none to join */

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
	/* After exit(3), JavaScript receives no further results. */
	for (struct task *first = pool->deliveries; first != NULL; first = first->next_undelivered) {
		for (struct task *task = first; task != NULL; task = task->next) result_undo(&task->result);
	}
	pool->deliveries = NULL;
	fd_registry_undo_all(pool->registry);
}

/*
 * process.exit() runs no cleanup hooks, but exit(3). A thread that is killed during its work would leave processes that
 * are never reaped, each with a namespace, and would use objects that are being freed. The environments of workers have ended by then.
 */
static void end_all(void *unused)
{
	(void)unused;
	if (getpid() != owner) return;
	pthread_mutex_lock(&all_lock);
	for (struct worker_pool *pool = all; pool != NULL; pool = pool->next) end_threads(pool);
	pthread_mutex_unlock(&all_lock);
}

/* atexit(3) calls the functions in reverse order: this one comes before the destructors of Node's own. */
static void add_to_all(struct worker_pool *pool)
{
	static int is_registered;

	pthread_mutex_lock(&all_lock);
	owner = getpid();
	if (!is_registered) is_registered = portable_atexit(end_all) == 0;
	pool->next = all;
	all = pool;
	pthread_mutex_unlock(&all_lock);
}

static void remove_from_all(struct worker_pool *pool)
{
	struct worker_pool **link = &all;

	pthread_mutex_lock(&all_lock);
	while (*link != NULL && *link != pool) link = &(*link)->next;
	if (*link != NULL) *link = pool->next;
	pthread_mutex_unlock(&all_lock);
}

/* The environment's cleanup hooks run in reverse order: the receiver's own comes after this one, and no thread calls it then. */
static void end_pool(void *data)
{
	struct worker_pool *pool = data;

	remove_from_all(pool);
	end_threads(pool);
}

static int make_receiver(struct worker_pool *pool, napi_env env)
{
	napi_value name;

	if (napi_create_string_utf8(env, "userns", NAPI_AUTO_LENGTH, &name) != napi_ok) return 0;
	if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, pool, receive, &pool->receiver) != napi_ok) {
		return 0;
	}
	if (napi_unref_threadsafe_function(env, pool->receiver) == napi_ok &&
	    napi_add_env_cleanup_hook(env, end_pool, pool) == napi_ok) {
		return 1;
	}
	napi_release_threadsafe_function(pool->receiver, napi_tsfn_abort);
	return 0;
}

struct worker_pool *worker_pool_new(napi_env env, struct fd_registry *registry)
{
	struct worker_pool *pool = calloc(1, sizeof *pool);

	if (pool == NULL) return NULL;
	pool->waiter.long_wait = long_wait;
	pool->registry = registry;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	if (make_receiver(pool, env)) {
		add_to_all(pool);
		return pool;
	}
	worker_pool_free(pool);
	return NULL;
}

void worker_pool_free(struct worker_pool *pool)
{
	if (pool == NULL) return;
	tasks_drop(pool->ordinary.first);
	tasks_drop(pool->slow.first);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
