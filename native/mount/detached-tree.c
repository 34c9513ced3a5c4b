#include "mount/detached-tree.h"
#include "mount/mntns-child.h"
#include "mount/mount-id.h"
#include <unistd.h>

/* What leads from the source to a mount below it is no link, nor leaves it. */
#define BELOW (USERNS_RESOLVE_BENEATH | USERNS_RESOLVE_NO_SYMLINKS | USERNS_RESOLVE_NO_MAGICLINKS)

static struct userns_mount_attr attributes_for(const struct tree_request *request, const struct part *part)
{
	struct userns_mount_attr attributes = {
		.attr_set = request->attr_set,
		.attr_clr = request->attr_clr,
		.propagation = request->propagation,
	};

	if (part->mode == PART_MAP || part->mode == PART_REMAP) {
		attributes.attr_set |= USERNS_MOUNT_ATTR_IDMAP;
		attributes.userns_fd = (uint64_t)part->ns;
	}
	if (part->mode == PART_CLEAR) attributes.attr_clr |= USERNS_MOUNT_ATTR_IDMAP;
	return attributes;
}

/* The map, the attributes and the propagation, on a tree that nobody sees yet: all of it or an error. */
static int set_all(const struct tree_request *request, const struct part *part, int alone, int tree)
{
	struct userns_mount_attr attributes = attributes_for(request, part);
	int error = call_mount_setattr(tree, alone && request->recursive_idmap, &attributes);

	if (error < 0 || !alone || !request->recursive || request->recursive_idmap) return error;
	/* One call knows only one reach: the map was for the root alone, the rest is for the whole tree. */
	attributes.attr_set = request->attr_set;
	attributes.userns_fd = 0;
	return call_mount_setattr(tree, 1, &attributes);
}

/* A detached copy of what is at the path, ready to be attached; `alone` when it is all there will be. */
static int copy(const struct tree_request *request, const struct part *part, int alone, int directory, const char *path,
		struct outcome *out)
{
	struct userns_mount_attr attributes = attributes_for(request, part);
	unsigned flags = USERNS_OPEN_TREE_CLONE;
	int error;
	int tree;

	if (part->mode == PART_REMAP || part->mode == PART_CLEAR) {
		tree = call_open_tree_attr(directory, path, 0, &attributes);
		return tree < 0 ? outcome_fail(out, tree, "open_tree_attr") : tree;
	}
	if (alone && request->recursive) flags |= USERNS_AT_RECURSIVE;
	tree = call_open_tree(directory, path, flags);
	if (tree < 0) return outcome_fail(out, tree, "open_tree");
	error = set_all(request, part, alone, tree);
	if (error < 0) {
		close(tree);
		return outcome_fail(out, error, "mount_setattr");
	}
	return tree;
}

/* EAGAIN when another mount is at the place than the one that was seen there. */
static int check_id(int fd, const struct part *part)
{
	struct mount_ids ids;
	int error;

	if (part->mount_id == 0) return 0;
	error = mount_ids(fd, &ids);
	if (error < 0) return error;
	return ids.id == part->mount_id ? 0 : -EAGAIN;
}

static int copy_below(const struct tree_request *request, const struct part *part, int source, struct outcome *out)
{
	const struct location location = {.fd = source, .path = part->path, .resolve = BELOW};
	int fd = mount_open_location(&location, request->waiter);
	int error;
	int tree = -1;

	if (fd < 0) return outcome_fail(out, fd, "submount");
	error = check_id(fd, part);
	if (error < 0) outcome_fail(out, error, "submount");
	else {
		tree = copy(request, part, request->count == 1, fd, "", out);
		error = tree < 0 ? tree : 0;
	}
	close(fd);
	return error < 0 ? error : tree;
}

static int copy_part(const struct tree_request *request, const struct part *part, int source, struct outcome *out)
{
	int error;

	if (part->path[0] != '\0') return copy_below(request, part, source, out);
	error = check_id(source, part);
	if (error < 0) return outcome_fail(out, error, "submount");
	return copy(request, part, request->count == 1, source, "", out);
}

/* Puts a copy where it belongs in a tree that is still detached, which Linux does since 6.15. */
static int put(const struct tree_request *request, int tree, const struct part *part, int submount, struct outcome *out)
{
	const struct attach_request attach = {
		.tree = submount,
		.target = {.fd = tree, .path = part->path, .resolve = BELOW},
		.mount_ns = -1,
		.waiter = request->waiter,
	};
	struct outcome put = {.fd = -1};

	mount_attach(&attach, &put);
	if (put.error == 0) return 0;
	return outcome_fail(out, put.error, put.error == -ETIMEDOUT || put.error == -ECANCELED ? put.step : "assemble");
}

static int assemble(const struct tree_request *request, int source, struct outcome *out)
{
	int tree = copy_part(request, &request->parts[0], source, out);

	for (size_t i = 1; tree >= 0 && i < request->count; i++) {
		int submount = copy_part(request, &request->parts[i], source, out);
		int error = submount < 0 ? submount : put(request, tree, &request->parts[i], submount, out);

		if (submount >= 0) close(submount);
		if (error >= 0) continue;
		close(tree); /* and with it all that it has got so far */
		tree = error;
	}
	return tree;
}

static int make(const struct tree_request *request, struct outcome *out)
{
	struct location source = request->source;
	int fd;
	int tree;

	source.automount = 1;
	fd = mount_open_location(&source, request->waiter);
	if (fd < 0) return outcome_fail(out, fd, "source");
	tree = assemble(request, fd, out);
	location_close(&source, fd);
	return tree;
}

void tree_make(const struct tree_request *request, struct outcome *out)
{
	struct mount_ids ids;
	int tree = make(request, out);
	int error;

	if (tree < 0) return;
	error = mount_ids(tree, &ids); /* the numbers stay the same when the mount is attached */
	if (error < 0) {
		close(tree);
		outcome_fail(out, error, "statx");
		return;
	}
	out->mount_id = ids.id;
	out->unique = ids.unique;
	out->fd = tree;
}
