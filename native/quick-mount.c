#include "quick-mount.h"
#include "attach-steps.h"
#include "detach.h"
#include <unistd.h>

/* A mount or a rename anywhere at that very moment is EAGAIN too; twice in a row it hardly ever is. */
#define TRIES 2

/* As place_open(), but EAGAIN where a file system would have to be asked, which may never answer (fuse, a dead server). */
static int open_cached(const struct place *place)
{
	struct userns_open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = place->resolve | USERNS_RESOLVE_CACHED,
	};
	long fd = -EAGAIN;

	if (place->path == NULL) return place->fd;
	for (int i = 0; i < TRIES && fd == -EAGAIN; i++) {
		fd = raw_syscall5(SYS_openat2, AT_FDCWD, (long)place->path, (long)&how, sizeof how, 0);
	}
	return (int)fd;
}

int quick_copy(const struct quick_request *request)
{
	struct userns_mount_attr attributes = {
		.attr_set = request->attr_set | USERNS_MOUNT_ATTR_IDMAP,
		.attr_clr = request->attr_clr,
		.propagation = request->propagation,
		.userns_fd = (uint64_t)request->ns,
	};
	int source = open_cached(&request->source);
	int tree;
	int error;

	if (source < 0) return source;
	tree = call_open_tree(source, "", USERNS_OPEN_TREE_CLONE);
	place_close(&request->source, source);
	if (tree < 0) return tree;
	error = call_mount_setattr(tree, 0, &attributes);
	if (error >= 0) return tree;
	close(tree);
	return error;
}

int quick_attach(const struct quick_request *request, int tree)
{
	struct attach_request there = {
		.tree = tree,
		.target = {.fd = open_cached(&request->target)},
		.propagation = request->propagation,
		.mount_ns = -1,
	};
	struct attaching at = {.request = &there, .take_off = mount_detach};

	if (there.target.fd < 0) return there.target.fd;
	attach_steps(&at);
	place_close(&request->target, there.target.fd);
	return at.error;
}
