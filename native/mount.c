#include "mount.h"
#include "compat.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static int set_attributes(int fd, int recursive, const struct userns_mount_attr *attributes)
{
	unsigned flags = AT_EMPTY_PATH | (recursive ? USERNS_AT_RECURSIVE : 0);
	long result = syscall(SYS_mount_setattr, fd, "", flags, attributes, sizeof *attributes);

	return result < 0 ? -errno : 0;
}

static int set_propagation(int fd, int recursive, uint64_t propagation)
{
	struct userns_mount_attr attributes = {.propagation = propagation};

	return set_attributes(fd, recursive, &attributes);
}

static int attach(int tree, int target)
{
	long result = syscall(SYS_move_mount, tree, "", target, "",
			      USERNS_MOVE_MOUNT_F_EMPTY_PATH | USERNS_MOVE_MOUNT_T_EMPTY_PATH);

	return result < 0 ? -errno : 0;
}

static int mount_id(int fd, uint64_t *id)
{
	struct statx answer;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, USERNS_STATX_MNT_ID, &answer) < 0) return -errno;
	if ((answer.stx_mask & USERNS_STATX_MNT_ID) == 0) return -ENOSYS; /* before Linux 5.8 */
	*id = answer.stx_mnt_id;
	return 0;
}

static int clone_tree(const struct mount_request *request)
{
	unsigned flags = USERNS_OPEN_TREE_CLONE | USERNS_OPEN_TREE_CLOEXEC;
	int directory = AT_FDCWD;
	const char *path = request->source;
	long tree;

	if (request->recursive) flags |= USERNS_AT_RECURSIVE;
	if (request->source_fd >= 0) {
		directory = request->source_fd;
		path = "";
		flags |= AT_EMPTY_PATH;
	}
	tree = syscall(SYS_open_tree, directory, path, flags);
	return tree < 0 ? -errno : (int)tree;
}

/* The map, the attributes and the propagation, on a tree that nobody sees yet: all of it or an error. */
static int prepare(const struct mount_request *request, int tree)
{
	struct userns_mount_attr attributes = {
		.attr_set = request->attr_set | USERNS_MOUNT_ATTR_IDMAP,
		.attr_clr = request->attr_clr,
		.propagation = request->propagation,
		.userns_fd = (uint64_t)request->ns,
	};
	int error = set_attributes(tree, request->recursive_idmap, &attributes);

	if (error < 0 || !request->recursive || request->recursive_idmap) return error;
	/* One call knows only one reach: the map was for the root alone, the rest is for the whole tree. */
	attributes.attr_set = request->attr_set;
	attributes.userns_fd = 0;
	return set_attributes(tree, 1, &attributes);
}

int mount_detach(int fd)
{
	char name[40];
	struct statfs fs;

	/* A lie under this name would make us take another mount off. */
	if (statfs("/proc/thread-self", &fs) < 0) return -errno;
	if (fs.f_type != USERNS_PROC_SUPER_MAGIC) return -EXDEV;
	snprintf(name, sizeof name, "/proc/thread-self/fd/%d", fd);
	/* MNT_DETACH, since our own descriptor keeps the mount busy. */
	return umount2(name, MNT_DETACH) < 0 ? -errno : 0;
}

/* From here on the mount is to be seen; every failure takes it off again. */
static int attach_as(const struct mount_request *request, int tree, int target, struct outcome *out)
{
	int error = attach(tree, target);

	if (error < 0) return outcome_fail(out, error, "move_mount");
	/* Under a shared parent attaching makes a mount shared (attach_recursive_mnt in fs/namespace.c). */
	error = set_propagation(tree, request->recursive, request->propagation);
	if (error < 0) {
		mount_detach(tree);
		return outcome_fail(out, error, "propagation");
	}
	return 0;
}

static int mount_tree(const struct mount_request *request, int tree, struct outcome *out)
{
	int target;
	int error = prepare(request, tree);

	if (error < 0) return outcome_fail(out, error, "mount_setattr");
	error = mount_id(tree, &out->mount_id); /* the number stays the same when the mount is attached */
	if (error < 0) return outcome_fail(out, error, "statx");
	if (request->target == NULL) return 0;
	/* Held from the look to the mount: a name that is swapped in between changes nothing (CVE-2021-30465). */
	target = open(request->target, O_PATH | O_CLOEXEC);
	if (target < 0) return outcome_fail(out, -errno, "target");
	error = attach_as(request, tree, target, out);
	close(target);
	return error;
}

void mount_idmapped(const struct mount_request *request, struct outcome *out)
{
	int tree = clone_tree(request);

	if (tree < 0) {
		outcome_fail(out, tree, "open_tree");
		return;
	}
	if (mount_tree(request, tree, out) < 0) close(tree); /* a tree that was never attached goes with its descriptor */
	else out->fd = tree;
}

/* EINVAL for a file inside a mount: taking "its" mount off would be a surprise. */
static int check_mount_root(int fd)
{
	struct statx answer;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &answer) < 0) return -errno;
	if ((answer.stx_attributes_mask & USERNS_STATX_ATTR_MOUNT_ROOT) == 0) return -ENOSYS; /* before Linux 5.8 */
	return (answer.stx_attributes & USERNS_STATX_ATTR_MOUNT_ROOT) != 0 ? 0 : -EINVAL;
}

void mount_open(const char *path, struct outcome *out)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	int error;

	if (fd < 0) {
		outcome_fail(out, -errno, "target");
		return;
	}
	error = check_mount_root(fd);
	if (error == 0) error = mount_id(fd, &out->mount_id);
	if (error < 0) {
		close(fd);
		outcome_fail(out, error, "statx");
		return;
	}
	out->fd = fd;
}

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
	long tree = syscall(SYS_open_tree, ns, "", AT_EMPTY_PATH | USERNS_OPEN_TREE_CLONE | USERNS_OPEN_TREE_CLOEXEC);
	int error;

	if (tree < 0) return outcome_fail(out, -errno, "open_tree");
	error = attach((int)tree, file);
	if (error < 0) outcome_fail(out, error, "move_mount");
	else {
		error = set_propagation((int)tree, 0, MS_PRIVATE);
		if (error < 0) {
			mount_detach((int)tree);
			outcome_fail(out, error, "propagation");
		}
	}
	close((int)tree);
	return error;
}

void mount_pin(int ns, const char *path, struct outcome *out)
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
