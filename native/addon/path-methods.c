#include "addon/path-methods.h"
#include "addon/method.h"
#include "proc/nsfs.h"
#include "mount/pin.h"
#include "addon/arguments.h"
#include "mount/path-walk.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The block of a job of these calls. */
struct walk_work {
	struct walk_request walk;
	int kind; /* the kind of namespace to open, a CLONE_NEW... */
	int ns;   /* the namespace to pin */
	int file; /* the file to pin it on */
};

static struct job *new_work(napi_env env, struct fd_registry *registry, void (*run)(struct job *job), struct walk_work **work)
{
	struct job *job = job_new(env, registry, run);

	if (job == NULL) return NULL;
	*work = job->block = calloc(1, sizeof **work);
	if (job->block != NULL) return job;
	napi_throw_error(env, NULL, "userns native: out of memory");
	job_free(job);
	return NULL;
}

static napi_value give_up(struct job *job)
{
	job_free(job);
	return NULL;
}

static void run_walk(struct job *job)
{
	struct walk_work *work = job->block;

	work->walk.waiter = job->waiter;
	walk_run(&work->walk, &job->out);
}

/* walk(end, links, owner, mountNs or -1, start or -1, contained, path, later) */
napi_value walk_call(napi_env env, napi_callback_info info)
{
	napi_value arguments[8];
	struct walk_request *request;
	struct walk_work *work;
	struct fd_registry *registry;
	struct job *job;
	double end;
	double links;
	double owner;
	double mount_ns;
	double start;
	int contained;
	int later;

	if (!value_arguments(env, info, 8, arguments, &registry) ||
	    !value_integer(env, arguments[0], 0, WALK_ENDS - 1, &end) ||
	    !value_integer(env, arguments[1], 0, WALK_LINKS - 1, &links) ||
	    !value_integer(env, arguments[2], 0, UINT32_MAX, &owner) ||
	    !value_integer(env, arguments[3], -1, INT_MAX, &mount_ns) ||
	    !value_integer(env, arguments[4], -1, INT_MAX, &start) || !value_flag(env, arguments[5], &contained) ||
	    !value_flag(env, arguments[7], &later)) {
		return NULL;
	}
	job = new_work(env, registry, run_walk, &work);
	if (job == NULL) return NULL;
	job->texts[0] = value_text(env, arguments[6], PATH_MAX);
	if (job->texts[0] == NULL) return give_up(job);
	request = &work->walk;
	request->end = (enum walk_end)end;
	request->links = (enum walk_links)links;
	request->owner = (uint32_t)owner;
	request->mount_ns = (int)mount_ns;
	request->start = (int)start;
	request->contained = contained;
	request->path = job->texts[0];
	return job_start(env, job, later);
}

static void run_open_namespace(struct job *job)
{
	struct walk_work *work = job->block;
	struct outcome seen = {.fd = -1};

	work->walk.waiter = job->waiter;
	walk_run(&work->walk, &seen);
	if (seen.error < 0) {
		outcome_fail(&job->out, seen.error, strcmp(seen.step, "target") == 0 ? "open" : seen.step);
		job->out.texts[OUTCOME_NAME] = seen.texts[OUTCOME_NAME];
		return;
	}
	nsfs_open_seen(seen.fd, work->kind, &job->out);
	free(seen.texts[OUTCOME_NAME]);
}

/* openNamespace(path, kind, owner, later): the namespace of that kind, a CLONE_NEW..., that the path leads to */
napi_value walk_open_namespace(napi_env env, napi_callback_info info)
{
	napi_value arguments[4];
	struct walk_work *work;
	struct fd_registry *registry;
	struct job *job;
	double kind;
	double owner;
	int later;

	if (!value_arguments(env, info, 4, arguments, &registry) || !value_integer(env, arguments[1], 0, INT_MAX, &kind) ||
	    !value_integer(env, arguments[2], 0, UINT32_MAX, &owner) || !value_flag(env, arguments[3], &later)) {
		return NULL;
	}
	job = new_work(env, registry, run_open_namespace, &work);
	if (job == NULL) return NULL;
	job->texts[0] = value_text(env, arguments[0], PATH_MAX);
	if (job->texts[0] == NULL) return give_up(job);
	work->kind = (int)kind;
	work->walk = (struct walk_request){
		.end = WALK_NAMESPACE,
		.links = WALK_OWN_LINKS,
		.owner = (uint32_t)owner,
		.mount_ns = -1,
		.start = -1,
		.path = job->texts[0],
	};
	return job_start(env, job, later);
}

static void run_pin(struct job *job)
{
	const struct walk_work *work = job->block;

	job->fd = namespace_pin(work->ns, work->file, job->waiter, &job->out);
}

static void note_pinned(struct job *job)
{
	fd_registry_attached(job->registry, job->out.fd, 0, -1);
}

static void undo_pin(struct job *job)
{
	fd_registry_undo_mount(-1, job->fd, 0, NULL);
}

/* pin(namespace, file, later) */
napi_value walk_pin(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	struct walk_work *work;
	struct fd_registry *registry;
	struct job *job;
	int later;
	int file;
	int ns;

	if (!value_arguments(env, info, 3, arguments, &registry) || !value_fd(env, arguments[0], &ns) ||
	    !value_fd(env, arguments[1], &file) || !value_flag(env, arguments[2], &later)) {
		return NULL;
	}
	job = new_work(env, registry, run_pin, &work);
	if (job == NULL) return NULL;
	work->ns = ns;
	work->file = file;
	job->undo = undo_pin;
	job->answered = note_pinned;
	return job_start(env, job, later);
}
