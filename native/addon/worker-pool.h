/*
 * A queue, and threads that take tasks from it, for one JavaScript environment. In libuv's pool a task would wait behind the
 * work of other code: a name look-up or a slow disk may take seconds.
 */
#ifndef USERNS_WORKER_POOL_H
#define USERNS_WORKER_POOL_H

#include "addon/results.h"
#include "child/bounded-child.h"
#include <node_api.h>

struct worker_pool;

/* The first member of a call. */
struct task {
	const struct task_kind *kind;
	struct task *next;             /* in the queue, or in the same delivery */
	struct task *next_undelivered; /* of the first task of a delivery: the next delivery */
	struct result result;
};

struct task_kind {
	int is_slow;  /* has additional threads, up to four, because it may take seconds and must not make other tasks wait */
	int is_short; /* runs on the environment's thread if no other can be started */
	int most_together; /* tasks of this kind that one run() takes */
	int most_delivered; /* tasks that the event loop receives in one wake-up; the first of them waits for the last */
	/* Runs `count` tasks, on any thread: no JavaScript in it. `waiter`: that of a pool thread, or NULL. */
	void (*run)(struct task *tasks, int count, struct waiter *waiter);
	/* Gives one result to JavaScript, on the environment's thread, and frees the task. `thrown`: see keep_thrown(). */
	void (*deliver)(napi_env env, struct task *task, napi_value *thrown);
	/* Frees a task whose result was dropped, on any thread. The environment may be gone. */
	void (*free)(struct task *task);
};

/*
 * The threads start with the tasks and are joined before the environment ends. At that moment, and at exit(3), the effects of
 * undelivered results and of `registry` are undone. NULL if it cannot be made.
 */
struct worker_pool *worker_pool_new(napi_env env, struct fd_registry *registry);

/*
 * Queues a task. Until it is delivered the event loop does not end. If no thread can be started, the result of a task that is
 * not short is −EAGAIN at the step "thread".
 */
void worker_pool_submit(struct worker_pool *pool, napi_env env, struct task *task);

/* Drops the queued tasks and frees the pool, at the end of the environment, after its threads have ended. NULL: nothing. */
void worker_pool_free(struct worker_pool *pool);

/* Drops results that JavaScript cannot receive, and frees the tasks. */
void tasks_drop(struct task *tasks);

/*
 * Moves a pending exception into `thrown`, because nothing can be called while one is pending, and further results may have to
 * be delivered first. False if there is none.
 */
int keep_thrown(napi_env env, napi_value *thrown);

#endif
