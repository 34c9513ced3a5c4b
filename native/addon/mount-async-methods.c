#include "addon/mount-async-methods.h"
#include "addon/results.h"
#include "mount/mntns-child.h"
#include "addon/method.h"
#include "mount/mount-id.h"
#include "addon/arguments.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* The fields of a part in the flat list of numbers. */
#define PART_NUMBERS 3
/* Number.MAX_SAFE_INTEGER */
#define MOST_WHOLE 9007199254740991.0

/* A place out of three arguments: a descriptor or −1, a path or null, RESOLVE_…. */
static int value_location(napi_env env, const napi_value *arguments, struct location *location, char **path)
{
	double resolve;
	double fd;

	if (!value_integer(env, arguments[0], -1, INT_MAX, &fd) ||
	    !value_optional_text(env, arguments[1], PATH_MAX, path) ||
	    !value_integer(env, arguments[2], 0, UINT32_MAX, &resolve)) {
		return 0;
	}
	*location = (struct location){.fd = (int)fd, .path = *path, .resolve = (uint64_t)resolve};
	if (location->fd >= 0 || location->path != NULL) return 1;
	napi_throw_type_error(env, NULL, "userns native: neither a descriptor nor a path");
	return 0;
}

static napi_value give_up(struct job *job)
{
	job_free(job);
	return NULL;
}

static void run_open_location(struct job *job)
{
	struct mount_ids ids;
	const struct location *location = &job->request.open.location;
	const int ns = job->request.open.mount_ns;
	int fd = ns < 0 ? mount_open_location(location, job->waiter) : mount_open_in(ns, location, job->waiter);
	int error;

	if (fd < 0) {
		outcome_fail(&job->out, fd, "source");
		return;
	}
	error = mount_ids(fd, &ids);
	if (error < 0) {
		location_close(location, fd);
		outcome_fail(&job->out, error, "statx");
		return;
	}
	job->out.mount_id = ids.id;
	job->out.unique = ids.unique;
	job->out.fd = fd;
}

/* openPlace(fd or −1, path, resolve, mountNs or −1, later) */
napi_value long_open_location(napi_env env, napi_callback_info info)
{
	napi_value arguments[5];
	struct fd_registry *registry;
	struct job *job;
	double mount_ns;
	int later;

	if (!value_arguments(env, info, 5, arguments, &registry) || !value_flag(env, arguments[4], &later) ||
	    !value_integer(env, arguments[3], -1, INT_MAX, &mount_ns)) {
		return NULL;
	}
	job = job_new(env, registry, run_open_location);
	if (job == NULL) return NULL;
	job->request.open.mount_ns = (int)mount_ns;
	if (!value_location(env, arguments, &job->request.open.location, &job->texts[0])) return give_up(job);
	if (job->request.open.location.path == NULL) { /* without a path, the descriptor itself would have two owners */
		napi_throw_type_error(env, NULL, "userns native: a path was expected");
		return give_up(job);
	}
	return job_start(env, job, later);
}

static void run_tree(struct job *job)
{
	job->request.tree.waiter = job->waiter;
	tree_make(&job->request.tree, &job->out);
}

static int value_part(napi_env env, napi_value numbers, uint32_t index, struct part *part)
{
	static const double least[PART_NUMBERS] = {0, PART_KEEP, -1};
	static const double most[PART_NUMBERS] = {MOST_WHOLE, PART_CLEAR, INT_MAX};
	double fields[PART_NUMBERS];

	for (uint32_t i = 0; i < PART_NUMBERS; i++) {
		napi_value element;

		if (napi_get_element(env, numbers, index * PART_NUMBERS + i, &element) != napi_ok ||
		    !value_integer(env, element, least[i], most[i], &fields[i])) {
			return 0;
		}
	}
	part->mount_id = (uint64_t)fields[0];
	part->mode = (enum part_mode)fields[1];
	part->ns = (int)fields[2];
	return 1;
}

static int value_parts(napi_env env, napi_value paths, napi_value numbers, struct job *job)
{
	struct tree_request *request = &job->request.tree;
	struct part *parts;
	uint32_t length = 0;
	size_t count = 0;

	job->list = value_texts(env, paths, PATH_MAX);
	if (job->list == NULL) return 0;
	while (job->list[count] != NULL) count++;
	if (count == 0 || count > INT_MAX / PART_NUMBERS || napi_get_array_length(env, numbers, &length) != napi_ok ||
	    length != count * PART_NUMBERS) {
		napi_throw_type_error(env, NULL, "userns native: the parts do not fit together");
		return 0;
	}
	parts = calloc(count, sizeof *parts);
	if (parts == NULL) {
		napi_throw_error(env, NULL, "userns native: out of memory");
		return 0;
	}
	job->block = parts;
	for (size_t i = 0; i < count; i++) {
		parts[i].path = job->list[i];
		if (!value_part(env, numbers, (uint32_t)i, &parts[i])) return 0;
	}
	request->parts = parts;
	request->count = count;
	return 1;
}

/*
 * tree(sourceFd or −1, source or null, resolve, part paths, part numbers, recursive, recursiveIdmap, set, clear,
 * propagation, later)
 */
napi_value long_tree(napi_env env, napi_callback_info info)
{
	napi_value arguments[11];
	struct tree_request *request;
	struct fd_registry *registry;
	struct job *job;
	double set;
	double clear;
	double propagation;
	int later;

	if (!value_arguments(env, info, 11, arguments, &registry) || !value_flag(env, arguments[10], &later)) return NULL;
	job = job_new(env, registry, run_tree);
	if (job == NULL) return NULL;
	request = &job->request.tree;
	if (!value_location(env, arguments, &request->source, &job->texts[0]) ||
	    !value_parts(env, arguments[3], arguments[4], job) ||
	    !value_flag(env, arguments[5], &request->recursive) ||
	    !value_flag(env, arguments[6], &request->recursive_idmap) ||
	    !value_integer(env, arguments[7], 0, UINT32_MAX, &set) ||
	    !value_integer(env, arguments[8], 0, UINT32_MAX, &clear) ||
	    !value_integer(env, arguments[9], 0, UINT32_MAX, &propagation)) {
		return give_up(job);
	}
	request->attr_set = (uint64_t)set;
	request->attr_clr = (uint64_t)clear;
	request->propagation = (uint64_t)propagation;
	return job_start(env, job, later);
}

/* The answer is a descriptor of the mount: until it is closed the caller has not heard. */
static void run_attach(struct job *job)
{
	struct attach_request *request = &job->request.attach;
	int copy = fcntl(request->tree, F_DUPFD_CLOEXEC, 3);

	request->waiter = job->waiter;
	if (copy < 0) {
		outcome_fail(&job->out, -errno, "duplicate");
		return;
	}
	mount_attach(request, &job->out);
	if (job->out.error < 0) close(copy);
	else job->out.fd = copy;
}

static void note_attached(struct job *job)
{
	const struct attach_request *request = &job->request.attach;

	fd_registry_attached(job->registry, job->out.fd, request->unique, request->mount_ns);
}

static void undo_attach(struct job *job)
{
	const struct attach_request *request = &job->request.attach;

	fd_registry_undo_mount(request->mount_ns, request->tree, request->unique, NULL);
}

/*
 * attach(tree, uniqueId, targetFd or −1, target or null, resolve, replace, recursive, propagation, mountNs or −1, later)
 */
napi_value long_attach(napi_env env, napi_callback_info info)
{
	napi_value arguments[10];
	struct attach_request *request;
	struct fd_registry *registry;
	struct job *job;
	double propagation;
	double mount_ns;
	double unique;
	int later;

	if (!value_arguments(env, info, 10, arguments, &registry) || !value_flag(env, arguments[9], &later)) return NULL;
	job = job_new(env, registry, run_attach);
	if (job == NULL) return NULL;
	request = &job->request.attach;
	if (!value_fd(env, arguments[0], &request->tree) ||
	    !value_integer(env, arguments[1], 0, MOST_WHOLE, &unique) ||
	    !value_location(env, arguments + 2, &request->target, &job->texts[0]) ||
	    !value_flag(env, arguments[5], &request->replace) || !value_flag(env, arguments[6], &request->recursive) ||
	    !value_integer(env, arguments[7], 0, UINT32_MAX, &propagation) ||
	    !value_integer(env, arguments[8], -1, INT_MAX, &mount_ns)) {
		return give_up(job);
	}
	request->unique = (uint64_t)unique;
	request->propagation = (uint64_t)propagation;
	request->mount_ns = (int)mount_ns;
	/* A mount that takes the place of another stays in any case: without both the target would be bare. */
	if (!request->replace) {
		job->undo = undo_attach;
		job->answered = note_attached;
	}
	return job_start(env, job, later);
}

/*
 * One mount, mapped and attached: one wait for a thread instead of two. The descriptor gets its last number before: once the mount
 * is attached, nothing may fail that it is undone by.
 */
static void run_mount(struct job *job)
{
	struct mount_request *request = &job->request.mount;
	struct outcome attached = {.fd = -1};
	int copy;

	request->tree.waiter = request->attach.waiter = job->waiter;
	tree_make(&request->tree, &job->out);
	if (job->out.error < 0) return;
	/* For undo_mount(): an answer that cannot be made is closed. */
	job->fd = job->out.fd;
	copy = job->out.fd = fcntl(job->fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0) {
		outcome_fail(&job->out, -errno, "duplicate");
		return;
	}
	request->attach.tree = job->fd;
	request->attach.unique = job->out.unique;
	mount_attach(&request->attach, &attached);
	if (attached.error == 0) return;
	close(copy);
	job->out.fd = -1;
	job->out.left = attached.left;
	outcome_fail(&job->out, attached.error, attached.step);
}

static void note_mounted(struct job *job)
{
	fd_registry_attached(job->registry, job->out.fd, job->out.unique, -1);
}

static void undo_mount(struct job *job)
{
	fd_registry_undo_mount(-1, job->fd, job->out.unique, NULL);
}

/* mount(sourceFd or −1, source or null, resolve, targetFd or −1, target or null, resolve, ns, set, clear, propagation, later) */
napi_value long_mount(napi_env env, napi_callback_info info)
{
	napi_value arguments[11];
	struct mount_request *request;
	struct fd_registry *registry;
	struct job *job;
	double numbers[3];
	int later;

	if (!value_arguments(env, info, 11, arguments, &registry) || !value_flag(env, arguments[10], &later)) return NULL;
	job = job_new(env, registry, run_mount);
	if (job == NULL) return NULL;
	request = &job->request.mount;
	if (!value_location(env, arguments, &request->tree.source, &job->texts[0]) ||
	    !value_location(env, arguments + 3, &request->attach.target, &job->texts[1]) ||
	    !value_fd(env, arguments[6], &request->part.ns)) {
		return give_up(job);
	}
	for (int i = 0; i < 3; i++) {
		if (!value_integer(env, arguments[7 + i], 0, UINT32_MAX, &numbers[i])) return give_up(job);
	}
	request->part.path = "";
	request->part.mode = PART_MAP;
	request->tree.parts = &request->part;
	request->tree.count = 1;
	request->tree.attr_set = (uint64_t)numbers[0];
	request->tree.attr_clr = (uint64_t)numbers[1];
	request->tree.propagation = request->attach.propagation = (uint64_t)numbers[2];
	request->attach.mount_ns = -1;
	job->undo = undo_mount;
	job->answered = note_mounted;
	return job_start(env, job, later);
}

static void run_detach(struct job *job)
{
	const struct detach_request *request = &job->request.detach;
	int error;

	if (request->alone) error = mount_detach_alone(request->fd, request->unique, job->waiter);
	else error = mount_detach(request->mount_ns, request->fd, request->unique, job->waiter);
	if (error < 0) outcome_fail(&job->out, error, "umount");
	else job->out.mount_id = (uint64_t)error;
}

/*
 * detach(fd, uniqueId, mountNs or −1, alone, later): with `alone`, `mountId` is 1 if a mount that was put on it at that
 * moment was unmounted instead
 */
napi_value long_detach(napi_env env, napi_callback_info info)
{
	napi_value arguments[5];
	struct detach_request *request;
	struct fd_registry *registry;
	struct job *job;
	double mount_ns;
	double unique;
	int later;

	if (!value_arguments(env, info, 5, arguments, &registry) || !value_flag(env, arguments[4], &later)) return NULL;
	job = job_new(env, registry, run_detach);
	if (job == NULL) return NULL;
	request = &job->request.detach;
	if (!value_fd(env, arguments[0], &request->fd) || !value_integer(env, arguments[1], 0, MOST_WHOLE, &unique) ||
	    !value_integer(env, arguments[2], -1, INT_MAX, &mount_ns) || !value_flag(env, arguments[3], &request->alone)) {
		return give_up(job);
	}
	request->unique = (uint64_t)unique;
	request->mount_ns = (int)mount_ns;
	return job_start(env, job, later);
}

static void run_close(struct job *job)
{
	if (job->fd >= 0) close(job->fd);
	job->fd = -1;
}

/*
 * closeLater(fd): a promise. With the last descriptor of a mount that is unmounted its file system may be shut down, which takes as
 * long as there is something to write.
 */
napi_value long_close(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct fd_registry *registry;
	struct job *job;
	int error;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	job = job_new(env, registry, run_close);
	if (job == NULL) return NULL;
	error = fd_registry_remove(registry, fd);
	if (error < 0) outcome_fail(&job->out, error, "own");
	else job->fd = fd;
	return job_start(env, job, 1);
}

static void run_join_peers(struct job *job)
{
	mount_join_peers(job->request.peers.mount_ns, job->request.peers.from, job->request.peers.to, job->waiter, &job->out);
}

/* joinPeers(from, to, mountNs or −1, later) */
napi_value long_join_peers(napi_env env, napi_callback_info info)
{
	napi_value arguments[4];
	struct fd_registry *registry;
	struct job *job;
	double mount_ns;
	int later;
	int from;
	int to;

	if (!value_arguments(env, info, 4, arguments, &registry) || !value_fd(env, arguments[0], &from) ||
	    !value_fd(env, arguments[1], &to) || !value_integer(env, arguments[2], -1, INT_MAX, &mount_ns) ||
	    !value_flag(env, arguments[3], &later)) {
		return NULL;
	}
	job = job_new(env, registry, run_join_peers);
	if (job == NULL) return NULL;
	job->request.peers.from = from;
	job->request.peers.to = to;
	job->request.peers.mount_ns = (int)mount_ns;
	return job_start(env, job, later);
}

static void run_overlay(struct job *job)
{
	job->request.overlay.waiter = job->waiter;
	overlay_make(&job->request.overlay, &job->out);
}

/* overlay(lower descriptors, upper or −1, work or −1, set, clear, root descriptors, ask, later) */
napi_value long_overlay(napi_env env, napi_callback_info info)
{
	napi_value arguments[8];
	struct overlay_request *request;
	struct fd_registry *registry;
	struct job *job;
	double upper;
	double work;
	double set;
	double clear;
	uint32_t root_count;
	uint32_t count;
	int *lower;
	int *roots;
	int later;
	int ask;

	if (!value_arguments(env, info, 8, arguments, &registry) || !value_flag(env, arguments[6], &ask) ||
	    !value_flag(env, arguments[7], &later)) {
		return NULL;
	}
	job = job_new(env, registry, run_overlay);
	if (job == NULL) return NULL;
	request = &job->request.overlay;
	if (!value_fds(env, arguments[0], &lower, &count)) return give_up(job);
	job->block = lower;
	if (!value_fds(env, arguments[5], &roots, &root_count)) return give_up(job);
	job->roots = roots;
	if (!value_integer(env, arguments[1], -1, INT_MAX, &upper) ||
	    !value_integer(env, arguments[2], -1, INT_MAX, &work) ||
	    !value_integer(env, arguments[3], 0, UINT32_MAX, &set) ||
	    !value_integer(env, arguments[4], 0, UINT32_MAX, &clear)) {
		return give_up(job);
	}
	*request = (struct overlay_request){
		.lower = lower,
		.count = count,
		.upper = (int)upper,
		.work = (int)work,
		.ask = ask,
		.attr_set = (uint64_t)set,
		.attr_clr = (uint64_t)clear,
		.roots = root_count == 0 ? NULL : roots,
		.root_count = root_count,
	};
	return job_start(env, job, later);
}
