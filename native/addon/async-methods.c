#include "addon/async-methods.h"
#include "addon/results.h"
#include "kernel/kernel-abi.h"
#include "addon/method.h"
#include "addon/arguments.h"
#include <limits.h>

static void run_join(struct job *job)
{
	read_maps(&job->request.join, &job->out);
}

/* At once, and without an object around the texts: making that takes as long as ten system calls. */
static napi_value read_now(napi_env env, struct job *job)
{
	napi_value answer;

	run_join(job);
	answer = job->out.error < 0 ? answer_outcome(env, job->registry, &job->out) : answer_maps(env, &job->out);
	job_free(job);
	return answer;
}

/* readMaps(fd, helper, later): the texts alone, or an outcome with an error; a promise of an outcome when `later` */
napi_value long_read_maps(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	struct fd_registry *registry;
	struct job *job;
	int later;
	int fd;

	if (!value_arguments(env, info, 3, arguments, &registry)) return NULL;
	if (!value_fd(env, arguments[0], &fd) || !value_flag(env, arguments[2], &later)) return NULL;
	job = job_new(env, registry, run_join);
	if (job == NULL) return NULL;
	job->texts[0] = value_text(env, arguments[1], PATH_MAX);
	if (job->texts[0] == NULL) {
		job_free(job);
		return NULL;
	}
	job->request.join = (struct read_maps_request){.ns = fd, .program = job->texts[0]};
	return later ? job_start(env, job, 1) : read_now(env, job);
}
