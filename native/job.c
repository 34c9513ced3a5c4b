#include "job.h"
#include "answers.h"
#include "values.h"
#include <stdlib.h>
#include <unistd.h>

struct job *job_new(napi_env env, struct owned *owned, void (*run)(struct job *job))
{
	struct job *job = calloc(1, sizeof *job);

	if (job == NULL) {
		napi_throw_error(env, NULL, "userns native: out of memory");
		return NULL;
	}
	job->run = run;
	job->out.fd = -1;
	job->fd = -1;
	job->owned = owned;
	owned_hold(owned);
	return job;
}

void job_free(struct job *job)
{
	for (int i = 0; i < JOB_TEXTS; i++) free(job->texts[i]);
	value_free_texts(job->list);
	free(job->block);
	free(job->roots);
	if (job->fd >= 0) close(job->fd);
	owned_release(job->owned);
	free(job);
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;

	(void)env;
	job->run(job);
}

/*
 * Back on the environment's thread. While a worker is being terminated Node still waits for the work, but lets nobody make
 * values any more: answer_outcome() closes the descriptor then, and an attached mount would stay all the same. From here on
 * it is the environment's end that would take it off (owned_attached()).
 */
static void complete(napi_env env, napi_status status, void *data)
{
	struct job *job = data;
	napi_value result;
	int done;

	if (status == napi_cancelled) outcome_fail(&job->out, -125 /* ECANCELED */, "cancelled");
	done = job->out.error == 0;
	result = answer_outcome(env, job->owned, &job->out);
	if (job->undo != NULL && done && (result == NULL || job->out.error < 0)) job->undo(job);
	if (job->answered != NULL && job->out.fd >= 0) job->answered(job);
	if (result == NULL) napi_get_undefined(env, &result);
	if (result != NULL) napi_resolve_deferred(env, job->deferred, result);
	napi_delete_async_work(env, job->work);
	job_free(job);
}

static napi_value start_later(napi_env env, struct job *job)
{
	napi_value promise;
	napi_value name;

	if (napi_create_string_utf8(env, "userns", NAPI_AUTO_LENGTH, &name) == napi_ok &&
	    napi_create_async_work(env, NULL, name, execute, complete, job, &job->work) == napi_ok) {
		if (napi_create_promise(env, &job->deferred, &promise) == napi_ok &&
		    napi_queue_async_work(env, job->work) == napi_ok) {
			return promise;
		}
		napi_delete_async_work(env, job->work);
	}
	job_free(job);
	napi_throw_error(env, NULL, "userns native: no asynchronous work can be started");
	return NULL;
}

napi_value job_start(napi_env env, struct job *job, int later)
{
	napi_value result;

	if (later) return start_later(env, job);
	job->run(job);
	result = answer_outcome(env, job->owned, &job->out);
	job_free(job);
	return result;
}
