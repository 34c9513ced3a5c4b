#include "pin.h"
#include "inside.h"
#include "mount-calls.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* The directory that holds the last name of a path, and that name. */
static int open_parent(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char *parent;
	int fd;

	if (slash == NULL) {
		*name = path;
		fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	*name = slash + 1;
	parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (parent == NULL) return -ENOMEM;
	fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) fd = -errno;
	free(parent);
	return fd;
}

static int pin_on(int ns, int file, struct outcome *out)
{
	int tree = call_open_tree(ns, "", USERNS_OPEN_TREE_CLONE);
	struct attach_request request = {
		.tree = tree,
		.target = {.fd = file},
		.propagation = MS_PRIVATE,
		.mount_ns = -1,
	};

	if (tree < 0) return outcome_fail(out, tree, "open_tree");
	mount_attach(&request, out);
	close(tree);
	return out->error;
}

void namespace_pin(int ns, const char *path, struct outcome *out)
{
	const char *name;
	int directory = open_parent(path, &name);
	int file;

	if (directory < 0) {
		outcome_fail(out, directory, "target");
		return;
	}
	/* O_EXCL: a file that is there already stays as it is, and a symlink is not followed. */
	file = openat(directory, name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (file < 0) outcome_fail(out, -errno, "target");
	else {
		if (pin_on(ns, file, out) < 0) unlinkat(directory, name, 0);
		close(file);
	}
	close(directory);
}
