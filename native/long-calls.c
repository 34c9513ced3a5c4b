#include "long-calls.h"
#include "compat.h"
#include "job.h"
#include "values.h"
#include <limits.h>

#define MAP_BYTES 4095 /* map_write() refuses a page or more */
#define ARGUMENT_BYTES 16384 /* 340 extents of three numbers with ten digits, and what divides them */

static void run_create(struct job *job)
{
	create_namespace(&job->request.create, &job->out);
}

/*
 * create(uidMap, gidMap, setgroups, direct, newuidmap or null, newgidmap or null, uidArguments, gidArguments, userns-join,
 * later)
 */
napi_value long_create(napi_env env, napi_callback_info info)
{
	static const size_t most[] = {MAP_BYTES, MAP_BYTES, MAP_BYTES, PATH_MAX, PATH_MAX, ARGUMENT_BYTES, ARGUMENT_BYTES,
				      PATH_MAX};
	napi_value arguments[10];
	struct owned *owned;
	struct job *job;
	char **texts;
	int direct;
	int later;

	if (!value_arguments(env, info, 10, arguments, &owned)) return NULL;
	if (!value_flag(env, arguments[3], &direct) || !value_flag(env, arguments[9], &later)) return NULL;
	job = job_new(env, owned, run_create);
	if (job == NULL) return NULL;
	texts = job->texts;
	for (int i = 0; i < 8; i++) {
		if (!value_optional_text(env, arguments[i < 3 ? i : i + 1], most[i], &texts[i])) {
			job_free(job);
			return NULL;
		}
	}
	for (int i = 0; i < 8; i++) {
		if (texts[i] != NULL || i == 3 || i == 4) continue;
		job_free(job);
		napi_throw_type_error(env, NULL, "userns native: a text is missing");
		return NULL;
	}
	job->request.create = (struct create_request){
		.uid_map = texts[0],
		.gid_map = texts[1],
		.setgroups = texts[2],
		.direct = direct,
		.programs = {texts[3], texts[4]},
		.arguments = {texts[5], texts[6]},
		.apart = texts[7],
	};
	return job_start(env, job, later);
}

static void run_join(struct job *job)
{
	join_read_maps(&job->request.join, &job->out);
}

/* At once, and without an object around the texts: making that takes as long as ten system calls. */
static napi_value read_now(napi_env env, struct job *job)
{
	napi_value answer;

	run_join(job);
	answer = job->out.error < 0 ? value_outcome(env, job->owned, &job->out) : value_maps(env, &job->out);
	job_free(job);
	return answer;
}

/* readMaps(fd, helper, later): the texts alone, or an outcome with an error; a promise of an outcome when `later` */
napi_value long_read_maps(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	struct owned *owned;
	struct job *job;
	int later;
	int fd;

	if (!value_arguments(env, info, 3, arguments, &owned)) return NULL;
	if (!value_fd(env, arguments[0], &fd) || !value_flag(env, arguments[2], &later)) return NULL;
	job = job_new(env, owned, run_join);
	if (job == NULL) return NULL;
	job->texts[0] = value_text(env, arguments[1], PATH_MAX);
	if (job->texts[0] == NULL) {
		job_free(job);
		return NULL;
	}
	job->request.join = (struct join_request){.ns = fd, .helper = job->texts[0]};
	return later ? job_start(env, job, 1) : read_now(env, job);
}
