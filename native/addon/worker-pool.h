/*
 * Threads of this package's own for one JavaScript environment, which wait for something to do and keep it from waiting
 * behind what others have in libuv's pool: a look-up of a name there, or a slow disk, may take seconds.
 */
#ifndef USERNS_WORKER_POOL_H
#define USERNS_WORKER_POOL_H

#include "child/bounded-child.h"
#include <node_api.h>

struct worker_pool;
struct worker_pool_work;

/* What was done: the first member of whatever it is. */
struct worker_pool_task {
	const struct worker_pool_work *work;
};

/* What a crew does, with the context that it was made with. */
struct worker_pool_work {
	/* On one of its threads, again and again until there is nothing to do: then NULL. No JavaScript in it. */
	struct worker_pool_task *(*work)(void *context);
	/* On the environment's thread, of what work() answered. */
	void (*tell)(napi_env env, void *context, struct worker_pool_task *done);
	/* On any thread: nobody is told of that any more. The context may be gone. */
	void (*drop)(struct worker_pool_task *done);
	/*
	 * When the environment or the process ends, after the threads: some of what they have done may not have reached tell(),
	 * and at the end of the process drop() is not called for it. Or NULL.
	 */
	void (*end)(void *context);
};

/*
 * Its threads start when there is something to do, and have ended before the environment ends; what they have done by then
 * and nobody was told of is dropped. NULL when it cannot be.
 */
struct worker_pool *worker_pool_new(napi_env env, const struct worker_pool_work *work, void *context);

/* There is something to do, from now on. False when there is no thread, nor can one be started: nobody does it then. */
int worker_pool_call(struct worker_pool *pool);

/* The waiter of one of the pool's threads, see child/bounded-child.h. */
struct waiter *worker_pool_waiter(struct worker_pool *pool);

/* While something is under way, the event loop does not end. On the environment's thread. */
void worker_pool_hold(struct worker_pool *pool, napi_env env);
void worker_pool_release(struct worker_pool *pool, napi_env env);

/* When the environment ends. NULL: nothing. */
void worker_pool_free(struct worker_pool *pool);

#endif
