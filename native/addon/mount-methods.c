#include "addon/method.h"
#include "mount/attach-steps.h"
#include "mount/detached-tree.h"
#include "mount/mntns-child.h"
#include "mount/mount-id.h"
#include "mount/overlay.h"
#include "mount/path-walk.h"
#include "mount/pin.h"
#include "proc/nsfs.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Three arguments: a descriptor or −1, a path or null, RESOLVE_…. */
static struct location location_argument(const struct argument *arguments)
{
	return (struct location){
		.fd = (int)arguments[0].number,
		.path = arguments[1].text,
		.resolve = (uint64_t)arguments[2].number,
	};
}

void run_open_location(struct call *call)
{
	struct outcome *out = &call->task.result.out;
	/* Always with a path: without one, the descriptor itself would get a second owner. */
	struct location location = location_argument(call->arguments);
	const int mount_ns = (int)call->arguments[3].number;
	struct mount_ids ids;
	int error;
	int fd;

	location.automount = (int)call->arguments[4].number;
	if (mount_ns < 0) fd = mount_open_location(&location, call->waiter);
	else fd = mount_open_in(mount_ns, &location, call->waiter, out);
	if (fd < 0) {
		if (mount_ns < 0 || strcmp(out->step, "setns") != 0) outcome_fail(out, fd, "source");
		return;
	}
	error = mount_ids(fd, &ids);
	if (error < 0) {
		location_close(&location, fd);
		outcome_fail(out, error, "statx");
		return;
	}
	out->mount_id = ids.id;
	out->unique = ids.unique;
	out->fd = fd;
}

void run_tree(struct call *call)
{
	const struct argument *arguments = call->arguments;
	const struct tree_request request = {
		.source = location_argument(arguments),
		.mount_ns = (int)arguments[10].number,
		.parts = arguments[4].parts,
		.count = arguments[4].count,
		.recursive = (int)arguments[5].number,
		.recursive_idmap = (int)arguments[6].number,
		.attr_set = (uint64_t)arguments[7].number,
		.attr_clr = (uint64_t)arguments[8].number,
		.propagation = (uint64_t)arguments[9].number,
		.waiter = call->waiter,
	};

	tree_make(&request, &call->task.result.out);
}

/* EINVAL: the mount is not attached in that mount namespace any more; ESTALE: other code has closed the descriptor. */
static void undo_attach(const struct undo *undo)
{
	int error = mount_detach(undo->mount_ns, undo->fd, undo->unique, NULL);

	if (error < 0 && error != -EINVAL) result_report_left(error);
}

/* The mount is unacknowledged under the descriptor of the tree, which JavaScript has. */
void run_attach(struct call *call)
{
	struct result *result = &call->task.result;
	const struct argument *arguments = call->arguments;
	const struct attach_request request = {
		.tree = (int)arguments[0].number,
		.unique = (uint64_t)arguments[1].number,
		.target = location_argument(arguments + 2),
		.replace = (int)arguments[5].number,
		.recursive = (int)arguments[6].number,
		.propagation = (uint64_t)arguments[7].number,
		.mount_ns = (int)arguments[8].number,
		.waiter = call->waiter,
	};

	mount_attach(&request, &result->out);
	/* A mount that has replaced another one stays in any case: without both mounts, the directory below would be visible. */
	if (result->out.error < 0 || request.replace) return;
	result->undo = (struct undo){undo_attach, request.tree, request.mount_ns, request.unique};
}

/* Maps and attaches one mount, with one wait for a thread instead of two. */
void run_mount(struct call *call)
{
	struct result *result = &call->task.result;
	const struct argument *arguments = call->arguments;
	const struct part part = {.path = "", .mode = PART_MAP, .ns = (int)arguments[6].number};
	const struct tree_request tree = {
		.source = location_argument(arguments),
		.mount_ns = -1,
		.parts = &part,
		.count = 1,
		.attr_set = (uint64_t)arguments[7].number,
		.attr_clr = (uint64_t)arguments[8].number,
		.propagation = (uint64_t)arguments[9].number,
		.waiter = call->waiter,
	};
	struct attach_request attach = {
		.target = location_argument(arguments + 3),
		.propagation = tree.propagation,
		.mount_ns = -1,
		.waiter = call->waiter,
	};
	struct outcome attached = {.fd = -1};

	tree_make(&tree, &result->out);
	if (result->out.error < 0) return;
	attach.tree = result->out.fd;
	attach.unique = result->out.unique;
	mount_attach(&attach, &attached);
	if (attached.error == 0) {
		result->undo = (struct undo){undo_attach, -1, -1, attach.unique};
		return;
	}
	close(attach.tree);
	result->out.fd = -1;
	result->out.left = attached.left;
	outcome_fail(&result->out, attached.error, attached.step);
}

void run_detach(struct call *call)
{
	struct outcome *out = &call->task.result.out;
	const struct argument *arguments = call->arguments;
	const int fd = (int)arguments[0].number;
	const uint64_t unique = (uint64_t)arguments[1].number;
	const int alone = (int)arguments[3].number;
	int error = alone ? mount_detach_alone(fd, unique, call->waiter)
			  : mount_detach((int)arguments[2].number, fd, unique, call->waiter);

	if (error < 0) outcome_fail(out, error, "umount");
	else out->mount_id = (uint64_t)error;
}

void run_join_peers(struct call *call)
{
	const struct argument *arguments = call->arguments;

	mount_join_peers((int)arguments[2].number, (int)arguments[0].number, (int)arguments[1].number, call->waiter,
			 &call->task.result.out);
}

void run_overlay(struct call *call)
{
	const struct argument *arguments = call->arguments;
	const struct overlay_request request = {
		.lower = arguments[0].fds,
		.count = arguments[0].count,
		.upper = (int)arguments[1].number,
		.work = (int)arguments[2].number,
		.attr_set = (uint64_t)arguments[3].number,
		.attr_clr = (uint64_t)arguments[4].number,
		.roots = arguments[5].count == 0 ? NULL : arguments[5].fds,
		.root_count = arguments[5].count,
		.ask = (int)arguments[6].number,
		.prepare = (int)arguments[7].number,
		.unmapped = {(uint32_t)arguments[8].number, (uint32_t)arguments[9].number},
		.waiter = call->waiter,
	};

	overlay_make(&request, &call->task.result.out);
}

void run_walk(struct call *call)
{
	const struct argument *arguments = call->arguments;
	const struct walk_request request = {
		.end = (enum walk_end)arguments[0].number,
		.links = (enum walk_links)arguments[1].number,
		.owner = (uint32_t)arguments[2].number,
		.mount_ns = (int)arguments[3].number,
		.start = (int)arguments[4].number,
		.contained = (int)arguments[5].number,
		.path = arguments[6].text,
		.waiter = call->waiter,
	};

	walk_run(&request, &call->task.result.out);
}

/* Opens the namespace of that kind, a CLONE_NEW…, that the path leads to. */
void run_open_namespace(struct call *call)
{
	struct outcome *out = &call->task.result.out;
	const struct argument *arguments = call->arguments;
	const struct walk_request request = {
		.end = WALK_NAMESPACE,
		.links = WALK_OWN_LINKS,
		.owner = (uint32_t)arguments[2].number,
		.mount_ns = -1,
		.start = -1,
		.path = arguments[0].text,
		.waiter = call->waiter,
	};
	struct outcome seen = {.fd = -1};

	walk_run(&request, &seen);
	if (seen.error < 0) {
		outcome_fail(out, seen.error, strcmp(seen.step, "target") == 0 ? "open" : seen.step);
		out->texts[OUTCOME_NAME] = seen.texts[OUTCOME_NAME];
		return;
	}
	nsfs_open_seen(seen.fd, (int)arguments[1].number, out);
	free(seen.texts[OUTCOME_NAME]);
}

/* Mounts a user namespace on a file. */
void run_pin(struct call *call)
{
	struct result *result = &call->task.result;

	namespace_pin((int)call->arguments[0].number, (int)call->arguments[1].number, call->waiter, &result->out);
	if (result->out.error == 0) result->undo = (struct undo){undo_attach, -1, -1, 0};
}
