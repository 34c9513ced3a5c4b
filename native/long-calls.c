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

static int is_null(napi_env env, napi_value value)
{
	napi_valuetype type;

	return napi_typeof(env, value, &type) == napi_ok && type == napi_null;
}

/* A text, or null when there is none. False with an exception pending. */
static int optional_text(napi_env env, napi_value value, size_t most, char **text)
{
	if (is_null(env, value)) return 1;
	*text = value_text(env, value, most);
	return *text != NULL;
}

/* create(uidMap, gidMap, setgroups, direct, newuidmap or null, newgidmap or null, uidArguments, gidArguments, later) */
napi_value long_create(napi_env env, napi_callback_info info)
{
	static const size_t most[] = {MAP_BYTES, MAP_BYTES, MAP_BYTES, PATH_MAX, PATH_MAX, ARGUMENT_BYTES, ARGUMENT_BYTES};
	napi_value arguments[9];
	struct owned *owned;
	struct job *job;
	char **texts;
	int direct;
	int later;

	if (!value_arguments(env, info, 9, arguments, &owned)) return NULL;
	if (!value_flag(env, arguments[3], &direct) || !value_flag(env, arguments[8], &later)) return NULL;
	job = job_new(env, owned, run_create);
	if (job == NULL) return NULL;
	texts = job->texts;
	for (int i = 0; i < 7; i++) {
		if (!optional_text(env, arguments[i < 3 ? i : i + 1], most[i], &texts[i])) {
			job_free(job);
			return NULL;
		}
	}
	for (int i = 0; i < 7; i++) {
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
	};
	return job_start(env, job, later);
}

static void run_join(struct job *job)
{
	join_read_maps(&job->request.join, &job->out);
}

/* readMaps(fd, helper, later) */
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
	return job_start(env, job, later);
}

static void run_mount(struct job *job)
{
	mount_idmapped(&job->request.mount, &job->out);
}

static void undo_mount(struct job *job)
{
	if (job->request.mount.target != NULL) mount_detach(job->out.fd);
}

/*
 * mount(sourceFd or −1, source or null, target or null, ns, recursive, recursiveIdmap, set, clear, propagation, later)
 */
napi_value long_mount(napi_env env, napi_callback_info info)
{
	napi_value arguments[10];
	struct mount_request request = {0};
	struct owned *owned;
	struct job *job;
	double source;
	double set;
	double clear;
	double propagation;
	int later;

	if (!value_arguments(env, info, 10, arguments, &owned) ||
	    !value_integer(env, arguments[0], -1, INT_MAX, &source) || !value_fd(env, arguments[3], &request.ns) ||
	    !value_flag(env, arguments[4], &request.recursive) ||
	    !value_flag(env, arguments[5], &request.recursive_idmap) ||
	    !value_integer(env, arguments[6], 0, UINT32_MAX, &set) ||
	    !value_integer(env, arguments[7], 0, UINT32_MAX, &clear) ||
	    !value_integer(env, arguments[8], 0, UINT32_MAX, &propagation) ||
	    !value_flag(env, arguments[9], &later)) {
		return NULL;
	}
	job = job_new(env, owned, run_mount);
	if (job == NULL) return NULL;
	job->undo = undo_mount;
	if (!optional_text(env, arguments[1], PATH_MAX, &job->texts[0]) ||
	    !optional_text(env, arguments[2], PATH_MAX, &job->texts[1])) {
		job_free(job);
		return NULL;
	}
	request.source_fd = (int)source;
	request.source = job->texts[0];
	request.target = job->texts[1];
	request.attr_set = (uint64_t)set;
	request.attr_clr = (uint64_t)clear;
	request.propagation = (uint64_t)propagation;
	if (request.source_fd < 0 && request.source == NULL) {
		job_free(job);
		napi_throw_type_error(env, NULL, "userns native: a mount needs a source");
		return NULL;
	}
	job->request.mount = request;
	return job_start(env, job, later);
}
