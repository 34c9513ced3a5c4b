#include "mount/detached-tree.h"
#include "kernel/auto-close.h"
#include "mount/mntns-child.h"
#include "mount/mount-id.h"
#include <fcntl.h>

/* The path from the source to a mount below it must neither leave the source nor follow a link. */
#define BELOW (USERNS_RESOLVE_BENEATH | USERNS_RESOLVE_NO_SYMLINKS | USERNS_RESOLVE_NO_MAGICLINKS)

static struct userns_mount_attr attributes_for(const struct tree_request *request, const struct part *part)
{
	struct userns_mount_attr attributes = {
		.attr_set = request->attr_set,
		.attr_clr = request->attr_clr,
		.propagation = request->propagation,
	};

	if (part->mode == PART_MAP || part->mode == PART_REMAP || part->mode == PART_ITSELF) {
		attributes.attr_set |= USERNS_MOUNT_ATTR_IDMAP;
		attributes.userns_fd = (uint64_t)part->ns;
	}
	if (part->mode == PART_CLEAR) attributes.attr_clr |= USERNS_MOUNT_ATTR_IDMAP;
	return attributes;
}

/* Sets the map, the attributes and the propagation of a tree that is not visible yet. */
static int set_attributes(const struct tree_request *request, const struct part *part, int tree)
{
	struct userns_mount_attr attributes = attributes_for(request, part);
	const int single = request->count == 1;
	int error = call_mount_setattr(tree, single && request->recursive_idmap, &attributes);

	if (error < 0 || !single || !request->recursive || request->recursive_idmap) return error;
	/* A second call, because the map is for the root alone and the rest for the whole tree. */
	attributes.attr_set = request->attr_set;
	attributes.userns_fd = 0;
	return call_mount_setattr(tree, 1, &attributes);
}

/*
 * Returns a detached copy of the mount whose root the descriptor is, with its map and attributes. With PART_ITSELF, a duplicate of
 * the descriptor: closing the last descriptor that open_tree(2) or fsmount(2) returned unmounts the mount (dissolve_on_fput() in
 * fs/namespace.c).
 */
static int copy(const struct tree_request *request, const struct part *part, int fd, struct outcome *out)
{
	struct userns_mount_attr attributes = attributes_for(request, part);
	const int recursive = request->count == 1 && request->recursive;
	AUTO_CLOSE int tree = -1;

	if (part->mode == PART_REMAP || part->mode == PART_CLEAR) {
		return mount_copy(request->mount_ns, fd, 0, &attributes, request->waiter, out);
	}
	if (part->mode != PART_ITSELF) {
		tree = mount_copy(request->mount_ns, fd, recursive ? USERNS_AT_RECURSIVE : 0, NULL, request->waiter, out);
		if (tree < 0) return tree;
	} else {
		tree = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (tree < 0) return outcome_fail(out, -errno, "duplicate");
	}
	int error = set_attributes(request, part, tree);
	return error < 0 ? outcome_fail(out, error, "mount_setattr") : take_fd(&tree);
}

/* Returns 0 if the mount is the expected one, EAGAIN if it is another one. */
static int check_id(int fd, const struct part *part)
{
	struct mount_ids ids;
	int error = part->mount_id == 0 ? 0 : mount_ids(fd, &ids);

	if (error < 0 || part->mount_id == 0) return error;
	return ids.id == part->mount_id ? 0 : -EAGAIN;
}

static int copy_part(const struct tree_request *request, const struct part *part, int source, struct outcome *out)
{
	const struct location location = {.fd = source, .path = part->path, .resolve = BELOW};
	const int is_source = part->path[0] == '\0';
	AUTO_CLOSE int below = is_source ? -1 : mount_open_location(&location, request->waiter);
	int fd = is_source ? source : below;
	int error = fd < 0 ? fd : check_id(fd, part);

	return error < 0 ? outcome_fail(out, error, "submount") : copy(request, part, fd, out);
}

/* Attaches a copy in a tree that is still detached, which the kernel allows since Linux 6.15. */
static int attach_part(const struct tree_request *request, int tree, const struct part *part, int submount, struct outcome *out)
{
	const struct attach_request attach = {
		.tree = submount,
		.target = {.fd = tree, .path = part->path, .resolve = BELOW},
		.mount_ns = -1,
		.waiter = request->waiter,
	};
	struct outcome attached = {.fd = -1};
	int error = mount_attach(&attach, &attached);

	if (error == 0) return 0;
	return outcome_fail(out, error, error == -ETIMEDOUT || error == -ECANCELED ? attached.step : "assemble");
}

/* Copies every part and attaches it to the first. A tree that fails is dropped with what is attached to it. */
static int assemble(const struct tree_request *request, int source, struct outcome *out)
{
	AUTO_CLOSE int tree = copy_part(request, &request->parts[0], source, out);

	for (size_t i = 1; tree >= 0 && i < request->count; i++) {
		AUTO_CLOSE int submount = copy_part(request, &request->parts[i], source, out);

		if (submount < 0) return submount;
		if (attach_part(request, tree, &request->parts[i], submount, out) < 0) return out->error;
	}
	return take_fd(&tree);
}

int tree_make(const struct tree_request *request, struct outcome *out)
{
	struct location location = request->source;
	AUTO_CLOSE int tree = -1;

	location.automount = 1;
	int source = mount_open_location(&location, request->waiter);
	if (source < 0) return outcome_fail(out, source, "source");
	tree = assemble(request, source, out);
	location_close(&location, source);
	/* The IDs stay the same when the mount is attached. */
	if (tree >= 0 && mount_note_ids(tree, out) == 0) out->fd = take_fd(&tree);
	return out->error;
}
