#include "mount/overlay.h"
#include "child/bounded-child.h"
#include "mount/mount-syscalls.h"
#include "mount/mount-id.h"
#include "proc/procfs.h"
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOG_BYTES 1024

/* The kernel's own words on why a configuration was refused: a line for each read, until ENODATA (fs/fs_context.c). */
static char *read_log(int context)
{
	char *log = calloc(1, LOG_BYTES);
	size_t length = 0;

	while (log != NULL && length < LOG_BYTES - 1) {
		ssize_t got = read(context, log + length, LOG_BYTES - 1 - length);

		if (got <= 0) break;
		length += (size_t)got;
	}
	return log;
}

static int set_layer_name(int context, const char *key, int fd)
{
	char name[PROCFS_NAME];
	int error = procfs_own_fd(fd, name);
	if (error < 0) return error;
	return call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, key, name, 0);
}

/*
 * By descriptor since Linux 6.13; before that the name in /proc of the very same descriptor. EOPNOTSUPP: before Linux 6.5
 * overlayfs took nothing but one text of options (vfs_fsconfig_locked() in fs/fsopen.c).
 */
static int set_layer(int context, const char *key, int fd)
{
	int error = call_fsconfig(context, USERNS_FSCONFIG_SET_FD, key, NULL, fd);

	return error == -EINVAL || error == -EBADF || error == -EOPNOTSUPP ? set_layer_name(context, key, fd) : error;
}

/* Before Linux 6.5 there is one text for all. "lowerdir+" would be taken without a word, and refused with the whole. */
static int set_lower_text(int context, const struct overlay_request *request)
{
	char *text = malloc(request->count * PROCFS_NAME + 1);
	size_t length = 0;
	int error = 0;

	if (text == NULL) return -ENOMEM;
	for (size_t i = 0; error == 0 && i < request->count; i++) {
		if (i > 0) text[length++] = ':';
		error = procfs_own_fd(request->lower[i], text + length);
		if (error == 0) length += strlen(text + length);
	}
	if (error == 0) error = call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, "lowerdir", text, 0);
	free(text);
	return error;
}

static int set_lower(int context, const struct overlay_request *request)
{
	int error = call_fsconfig(context, USERNS_FSCONFIG_SET_FD, "lowerdir+", NULL, request->lower[0]);

	if (error == -EOPNOTSUPP) return set_lower_text(context, request);
	if (error == -EINVAL || error == -EBADF) error = set_layer_name(context, "lowerdir+", request->lower[0]);
	if (error == -EINVAL) return set_lower_text(context, request);
	for (size_t i = 1; error == 0 && i < request->count; i++) error = set_layer(context, "lowerdir+", request->lower[i]);
	return error;
}

struct creating {
	struct bounded_child bounded;
	const struct overlay_request *request;
	int context; /* −1 to look at `tree` */
	int tree;
	int error;
	const char *step;
	struct statfs fs;
	int needed[]; /* the descriptors that the child keeps */
};

/* Where the roots cover each other does not matter: a path from the root directory starts below all of them. */
NO_STACK_PROTECTOR static long attach_roots(const struct overlay_request *request)
{
	long error = raw_syscall3(SYS_unshare, CLONE_NEWNS, 0, 0);

	/* Else they would appear at the peers of a shared root in other namespaces. */
	if (error >= 0) error = raw_syscall5(SYS_mount, 0, (long)"/", 0, MS_REC | MS_PRIVATE, 0);
	for (size_t i = 0; error >= 0 && i < request->root_count; i++) {
		error = raw_syscall5(SYS_move_mount, request->roots[i], (long)"", AT_FDCWD, (long)"/",
				     USERNS_MOVE_MOUNT_F_EMPTY_PATH);
	}
	return error;
}

NO_STACK_PROTECTOR static int create_body(void *argument)
{
	struct creating *creating = argument;
	const struct overlay_request *request = creating->request;
	long error = 0;

	bounded_child_begin(&creating->bounded, creating->needed, (int)request->root_count + 1);
	creating->step = "overlay layers";
	if (creating->context < 0) error = raw_syscall3(SYS_fstatfs, creating->tree, (long)&creating->fs, 0);
	else {
		if (request->roots != NULL) error = attach_roots(request);
		if (error >= 0) {
			creating->step = "overlay create";
			error = call_fsconfig(creating->context, USERNS_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
		}
	}
	creating->error = (int)error;
	raw_exit(0);
}

/* Runs in a child: makes the overlay of the context, or, for −1, reads the mount flags of `tree`. */
static int run_apart(int context, int tree, const struct overlay_request *request, struct outcome *out, long *flags)
{
	size_t size = sizeof(struct creating) + (request->root_count + 1) * sizeof(int);
	struct creating *creating = bounded_child_new(size, request->waiter);
	int error;

	if (creating == NULL) return outcome_fail(out, -ENOMEM, "overlay layers");
	creating->request = request;
	creating->context = context;
	creating->tree = tree;
	creating->needed[0] = context < 0 ? tree : context;
	for (size_t i = 0; i < request->root_count; i++) creating->needed[i + 1] = request->roots[i];
	creating->step = "mntns killed";
	creating->error = -EINTR;
	error = bounded_child_run(&creating->bounded, create_body, creating);
	if (error == -ETIMEDOUT || error == -ECANCELED) creating->step = "overlay silent";
	else if (error < 0) creating->step = "clone";
	else error = creating->error;
	if (error < 0) outcome_fail(out, error, creating->step);
	*flags = (long)creating->fs.f_flags;
	bounded_child_free(&creating->bounded);
	return error;
}

static int configure(int context, const struct overlay_request *request, struct outcome *out)
{
	/* unmount(path) recognises an overlay of this package by this source in mountinfo. */
	int error = call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, "source", "userns", 0);

	if (error == 0) error = set_lower(context, request);
	if (error < 0) return outcome_fail(out, error, "overlay lower");
	if (request->upper >= 0) {
		error = set_layer(context, "upperdir", request->upper);
		if (error < 0) return outcome_fail(out, error, "overlay upper");
		error = set_layer(context, "workdir", request->work);
		if (error < 0) return outcome_fail(out, error, "overlay work");
	}
	return run_apart(context, -1, request, out, &(long){0});
}

/* An overlay that cannot prepare its work directory says so in the kernel's log only, and is read-only. */
static int check_writable(const struct overlay_request *request, int tree, struct outcome *out)
{
	long flags = 0;
	int error = request->upper < 0 ? 0 : run_apart(-1, tree, request, out, &flags);

	if (error < 0) return error;
	return (flags & ST_RDONLY) != 0 ? outcome_fail(out, -EROFS, "overlay writable") : 0;
}

static int make(int context, const struct overlay_request *request, struct outcome *out)
{
	struct mount_ids ids;
	int error = configure(context, request, out);
	int tree;

	if (error < 0) return error;
	/* The attributes afterwards: read-only ones would hide what the check looks for. */
	tree = call_fsmount(context, 0);
	if (tree < 0) return outcome_fail(out, tree, "fsmount");
	error = check_writable(request, tree, out);
	if (error == 0) {
		struct userns_mount_attr attributes = {.attr_set = request->attr_set, .attr_clr = request->attr_clr};

		error = (request->attr_set | request->attr_clr) == 0 ? 0 : call_mount_setattr(tree, 0, &attributes);
		if (error < 0) outcome_fail(out, error, "mount_setattr");
		else {
			error = mount_ids(tree, &ids);
			if (error < 0) outcome_fail(out, error, "statx");
		}
	}
	if (error < 0) {
		close(tree);
		return error;
	}
	out->mount_id = ids.id;
	out->unique = ids.unique;
	out->fd = tree;
	return 0;
}

/* A detached tmpfs with an upper layer and a work directory. */
struct scratch {
	int tree;
	int upper;
	int work;
};

static int scratch_directory(int tree, const char *name)
{
	int fd;

	if (mkdirat(tree, name, 0700) < 0) return -errno;
	fd = openat(tree, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int scratch_make(struct scratch *scratch)
{
	int context = call_fsopen("tmpfs");

	if (context < 0) return context;
	scratch->tree = call_fsconfig(context, USERNS_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (scratch->tree == 0) scratch->tree = call_fsmount(context, 0);
	close(context);
	if (scratch->tree < 0) return scratch->tree;
	scratch->upper = scratch_directory(scratch->tree, "upper");
	if (scratch->upper < 0) return scratch->upper;
	scratch->work = scratch_directory(scratch->tree, "work");
	return scratch->work < 0 ? scratch->work : 0;
}

static int configure_question(int context, const struct overlay_request *request, const struct scratch *scratch,
			      struct outcome *out)
{
	struct overlay_request question = *request;
	int error = call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, "index", "on", 0);
	int *roots = NULL;

	if (error < 0) return outcome_fail(out, error, "overlay in use");
	question.upper = scratch->upper;
	question.work = scratch->work;
	if (request->roots != NULL) {
		roots = calloc(request->root_count + 1, sizeof *roots);
		if (roots == NULL) return outcome_fail(out, -ENOMEM, "overlay in use");
		memcpy(roots, request->roots, request->root_count * sizeof *roots);
		roots[question.root_count++] = scratch->tree;
		question.roots = roots;
	}
	error = configure(context, &question, out);
	free(roots);
	return error;
}

/*
 * With index=on the kernel refuses a layer that is, or lies in, another overlay's upper layer or work directory
 * (ovl_check_layer() and ovl_report_in_use() in fs/overlayfs/super.c). The layer is given as a lower layer, so nothing
 * changes in it: all writes go to the scratch tmpfs, and the kernel logs nothing if the layer is free.
 */
static int ask_in_use(int context, const struct overlay_request *request, struct outcome *out)
{
	struct scratch scratch = {.tree = -1, .upper = -1, .work = -1};
	int error = scratch_make(&scratch);

	if (error < 0) outcome_fail(out, error, "overlay in use");
	else error = configure_question(context, request, &scratch, out);
	if (scratch.work >= 0) close(scratch.work);
	if (scratch.upper >= 0) close(scratch.upper);
	if (scratch.tree >= 0) close(scratch.tree);
	return error;
}

void overlay_make(const struct overlay_request *request, struct outcome *out)
{
	int context = call_fsopen("overlay");

	if (context < 0) {
		outcome_fail(out, context, "fsopen");
		return;
	}
	if ((request->ask ? ask_in_use(context, request, out) : make(context, request, out)) < 0) out->texts[OUTCOME_LOG] = read_log(context);
	close(context);
}
