#include "addon/method.h"
#include "addon/results.h"
#include "addon/environment.h"
#include "addon/arguments.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct jobs {
	struct worker_pool *pool;
	int underway; /* used on the environment's thread only */
	pthread_mutex_t lock;
	struct job *first; /* the waiting jobs */
	struct job **end;
	struct job *done; /* those that have something to undo, until JavaScript has the answer */
	struct fd_registry *registry;
};

struct job *job_new(napi_env env, struct fd_registry *registry, void (*run)(struct job *job))
{
	struct job *job = calloc(1, sizeof *job);

	if (job == NULL) {
		napi_throw_error(env, NULL, "userns native: out of memory");
		return NULL;
	}
	job->run = run;
	job->out.fd = -1;
	job->fd = -1;
	job->registry = registry;
	fd_registry_hold(registry);
	return job;
}

void job_free(struct job *job)
{
	for (int i = 0; i < JOB_TEXTS; i++) free(job->texts[i]);
	value_free_texts(job->list);
	free(job->block);
	free(job->roots);
	if (job->fd >= 0) close(job->fd);
	fd_registry_release(job->registry);
	free(job);
}

static struct job *take(struct jobs *jobs)
{
	struct job *job;

	pthread_mutex_lock(&jobs->lock);
	job = jobs->first;
	if (job != NULL) jobs->first = job->next;
	if (jobs->first == NULL) jobs->end = &jobs->first;
	pthread_mutex_unlock(&jobs->lock);
	return job;
}

static void put(struct jobs *jobs, struct job *job)
{
	pthread_mutex_lock(&jobs->lock);
	*jobs->end = job;
	jobs->end = &job->next;
	pthread_mutex_unlock(&jobs->lock);
}

static void note_done(struct jobs *jobs, struct job *job)
{
	pthread_mutex_lock(&jobs->lock);
	job->jobs = jobs;
	job->next = jobs->done;
	jobs->done = job;
	pthread_mutex_unlock(&jobs->lock);
}

/* False when it is not there. */
static int forget_done(struct job *job)
{
	struct jobs *jobs = job->jobs;
	struct job **location;

	if (jobs == NULL) return 0;
	pthread_mutex_lock(&jobs->lock);
	location = &jobs->done;
	while (*location != job) location = &(*location)->next;
	*location = job->next;
	pthread_mutex_unlock(&jobs->lock);
	job->jobs = NULL;
	return 1;
}

/* JavaScript cannot learn of it: the environment or the process ends. */
static void undo(struct job *job)
{
	if (job->out.error == 0) job->undo(job);
	else fd_registry_report_left(job->out.error);
}

/* See addon/worker-pool.h. After exit(3) nothing frees what is on its way to JavaScript. */
static void undo_all(void *context)
{
	struct jobs *jobs = context;

	while (jobs->done != NULL) {
		struct job *job = jobs->done;

		forget_done(job);
		undo(job);
	}
	fd_registry_undo_unacknowledged(jobs->registry);
}

/* On a thread of the pool. */
static struct worker_pool_task *run_next(void *context)
{
	struct jobs *jobs = context;
	struct job *job = take(jobs);

	if (job == NULL) return NULL;
	job->waiter = worker_pool_waiter(jobs->pool);
	job->run(job);
	if (job->out.left || (job->undo != NULL && job->out.error == 0)) note_done(jobs, job);
	return &job->load;
}

static void drop(struct worker_pool_task *load)
{
	struct job *job = (struct job *)load;

	if (forget_done(job)) undo(job);
	if (job->out.fd >= 0) close(job->out.fd);
	for (int i = 0; i < OUTCOME_TEXTS; i++) free(job->out.texts[i]);
	free(job->out.bytes);
	job_free(job);
}

/*
 * While a worker is being terminated no values can be made: answer_outcome() closes the descriptor then, and an attached mount
 * would stay all the same. After it, it is the environment's end that unmounts it (fd_registry_attached()).
 */
static napi_value answer(napi_env env, struct job *job)
{
	int done = job->out.error == 0;
	napi_value result = answer_outcome(env, job->registry, &job->out);

	if (job->undo != NULL && done && (result == NULL || job->out.error < 0)) job->undo(job);
	else if (job->out.left && result == NULL) fd_registry_report_left(job->out.error);
	else if (job->answered != NULL && job->out.fd >= 0) job->answered(job);
	return result;
}

/* Back on the environment's thread. */
static void on_result(napi_env env, void *context, struct worker_pool_task *load)
{
	struct jobs *jobs = context;
	struct job *job = (struct job *)load;
	napi_value result;

	forget_done(job);
	result = answer(env, job);
	if (result == NULL) napi_get_undefined(env, &result);
	if (result != NULL) napi_resolve_deferred(env, job->deferred, result);
	job_free(job);
	if (--jobs->underway == 0) worker_pool_release(jobs->pool, env);
}

struct jobs *jobs_new(napi_env env, struct fd_registry *registry)
{
	static const struct worker_pool_work work = {.work = run_next, .tell = on_result, .drop = drop, .end = undo_all};
	struct jobs *jobs = registry == NULL ? NULL : calloc(1, sizeof *jobs);

	if (jobs == NULL) return NULL;
	jobs->registry = registry;
	pthread_mutex_init(&jobs->lock, NULL);
	jobs->end = &jobs->first;
	jobs->pool = worker_pool_new(env, &work, jobs);
	if (jobs->pool != NULL) return jobs;
	jobs_end(jobs);
	return NULL;
}

void jobs_end(struct jobs *jobs)
{
	struct job *job;

	while ((job = take(jobs)) != NULL) job_free(job);
	worker_pool_free(jobs->pool);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

static napi_value start_later(napi_env env, struct job *job)
{
	struct environment *environment;
	struct jobs *jobs;
	napi_value promise;

	if (napi_get_instance_data(env, (void **)&environment) != napi_ok ||
	    napi_create_promise(env, &job->deferred, &promise) != napi_ok) {
		job_free(job);
		napi_throw_error(env, NULL, "userns native: no promise can be made");
		return NULL;
	}
	jobs = environment->jobs;
	if (jobs->underway++ == 0) worker_pool_hold(jobs->pool, env);
	put(jobs, job);
	if (worker_pool_call(jobs->pool)) return promise;
	take(jobs); /* the new job: without a thread no other job waits */
	outcome_fail(&job->out, -EAGAIN, "thread");
	on_result(env, jobs, &job->load);
	return promise;
}

napi_value job_start(napi_env env, struct job *job, int later)
{
	napi_value result;

	if (later) return start_later(env, job);
	job->run(job);
	result = answer(env, job);
	job_free(job);
	return result;
}
