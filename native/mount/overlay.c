#include "mount/overlay.h"
#include "child/bounded-child.h"
#include "kernel/auto-close.h"
#include "mount/mount-id.h"
#include "mount/mount-syscalls.h"
#include "mount/upper-layer.h"
#include "proc/procfs.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define LOG_BYTES 1024
/* The longest string that fsconfig(2) takes, without the NUL. */
#define MOST_TEXT 255

/* Reads the kernel's messages on a refused configuration: one line for each read(2), until ENODATA (fs/fs_context.c). */
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

	return error < 0 ? error : call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, key, name, 0);
}

/*
 * Sets a layer by its descriptor, Linux 6.13, or by the path of the descriptor in /proc. EOPNOTSUPP: before Linux 6.5 overlayfs
 * accepted only a text with all options (vfs_fsconfig_locked() in fs/fsopen.c).
 */
static int set_layer(int context, const char *key, int fd)
{
	int error = call_fsconfig(context, USERNS_FSCONFIG_SET_FD, key, NULL, fd);

	return error == -EINVAL || error == -EBADF || error == -EOPNOTSUPP ? set_layer_name(context, key, fd) : error;
}

/* The findings of the children: of the first, whether the upper layer is new; of the second, the mount flags of the overlay. */
struct findings {
	int by_number; /* not found out: the names of the lower layers are below /proc/thread-self/fd, and the kernel takes them in the child */
	long is_new;
	struct statfs fs;
};

#define FD_FOLDER "/proc/thread-self/fd/"

/* Sets every lower layer with one text, of which fsconfig(2) accepts 255 bytes. */
static int set_lower_text(int context, const struct overlay_request *request, int by_number)
{
	char *text = malloc(request->count * PROCFS_NAME + 1);
	size_t length = 0;
	int error = 0;

	if (text == NULL) return -ENOMEM;
	for (size_t i = 0; error == 0 && i < request->count; i++) {
		if (i > 0) text[length++] = ':';
		error = procfs_own_fd(request->lower[i], text + length);
		if (error < 0) break;
		if (by_number) memmove(text + length, text + length + strlen(FD_FOLDER), PROCFS_NAME - strlen(FD_FOLDER));
		length += strlen(text + length);
	}
	if (error == 0 && length > MOST_TEXT) error = -E2BIG; /* the kernel's EINVAL has other reasons too */
	if (error == 0) error = call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, "lowerdir", text, 0);
	free(text);
	return error;
}

/*
 * EOPNOTSUPP: before Linux 6.5 the kernel takes the text in the child, which changes to that folder, so that numbers suffice. EINVAL:
 * a kernel without "lowerdir+" that takes the text here.
 */
static int set_lower(int context, const struct overlay_request *request, struct findings *found)
{
	int error = call_fsconfig(context, USERNS_FSCONFIG_SET_FD, "lowerdir+", NULL, request->lower[0]);

	if (error == -EOPNOTSUPP) return set_lower_text(context, request, found->by_number = 1);
	if (error == -EINVAL || error == -EBADF) error = set_layer_name(context, "lowerdir+", request->lower[0]);
	if (error == -EINVAL) return set_lower_text(context, request, 0);
	for (size_t i = 1; error == 0 && i < request->count; i++) error = set_layer(context, "lowerdir+", request->lower[i]);
	return error;
}

/* The state of the child. */
struct overlay_child {
	struct bounded_child bounded;
	const struct overlay_request *request;
	int context; /* −1: completes the overlay `tree` */
	int tree;
	struct findings found;
	int needed[]; /* the descriptors that the child needs */
};

#define NEEDED 3 /* besides the lower layers and the roots */

/*
 * Creates a mount namespace, and attaches the layers' mounts at its root. They may cover each other, because a path from the root
 * directory starts below all of them.
 */
NO_STACK_PROTECTOR static long attach_roots(const struct overlay_request *request)
{
	long error = raw_syscall3(SYS_unshare, CLONE_NEWNS, 0, 0);

	/* Otherwise they would be visible at the peers of a shared root in other mount namespaces. */
	if (error >= 0) error = raw_syscall5(SYS_mount, 0, (long)"/", 0, MS_REC | MS_PRIVATE, 0);
	for (size_t i = 0; error >= 0 && i < request->root_count; i++) {
		error = raw_syscall5(SYS_move_mount, request->roots[i], (long)"", AT_FDCWD, (long)"/",
				     USERNS_MOVE_MOUNT_F_EMPTY_PATH);
	}
	return error;
}

/* Makes the overlay of the context. */
NO_STACK_PROTECTOR static int create(struct overlay_child *child)
{
	const struct overlay_request *request = child->request;
	long error = child->found.by_number ? raw_syscall3(SYS_chdir, (long)FD_FOLDER, 0, 0) : 0;

	if (error >= 0 && request->roots != NULL) error = attach_roots(request);

	if (error < 0) return bounded_child_note(&child->bounded, error, "overlay layers");
	/* Before the overlay exists, because then the kernel marks its upper layer. */
	if (request->prepare) child->found.is_new = upper_layer_is_new(request->upper);
	if (child->found.is_new < 0) return bounded_child_note(&child->bounded, child->found.is_new, "upper owner");
	error = call_fsconfig(child->context, USERNS_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	return bounded_child_note(&child->bounded, error, "overlay create");
}

/* Reads the mount flags of the overlay, and prepares a new upper layer if it can be written. */
NO_STACK_PROTECTOR static int complete_tree(struct overlay_child *child)
{
	const struct overlay_request *request = child->request;
	long error = raw_syscall3(SYS_fstatfs, child->tree, (long)&child->found.fs, 0);

	if (error < 0) return bounded_child_note(&child->bounded, error, "overlay writable");
	if (child->found.is_new <= 0 || (child->found.fs.f_flags & ST_RDONLY) != 0)
		return bounded_child_note(&child->bounded, 0, NULL);
	error = upper_layer_prepare(child->tree, request->lower[0], request->unmapped);
	return bounded_child_note(&child->bounded, error, "upper owner");
}

NO_STACK_PROTECTOR static size_t count_needed(const struct overlay_request *request)
{
	return NEEDED + request->count + request->root_count;
}

NO_STACK_PROTECTOR static int child_main(void *argument)
{
	struct overlay_child *child = argument;

	bounded_child_begin(&child->bounded, child->needed, (int)count_needed(child->request));
	if (child->context < 0) complete_tree(child);
	else create(child);
	raw_exit(0);
}

/* Makes the overlay of the context in a child; or, for −1, completes that of `tree` there. */
static int run(int context, int tree, const struct overlay_request *request, struct findings *found, struct outcome *out)
{
	size_t size = sizeof(struct overlay_child) + count_needed(request) * sizeof(int);
	struct overlay_child *child = bounded_child_new(size, request->waiter);

	if (child == NULL) return outcome_fail(out, -ENOMEM, "overlay layers");
	child->request = request;
	child->context = context;
	child->tree = tree;
	child->found = *found;
	child->needed[0] = context < 0 ? tree : context;
	child->needed[1] = request->upper;
	child->needed[2] = request->work;
	/* All layers, because before Linux 6.5 the child itself resolves their names (ovl_fill_super() in fs/overlayfs/super.c). */
	memcpy(child->needed + NEEDED, request->lower, request->count * sizeof *request->lower);
	for (size_t i = 0; i < request->root_count; i++) child->needed[NEEDED + request->count + i] = request->roots[i];
	int error = bounded_child_run(&child->bounded, child_main, "overlay silent", "mntns killed");
	if (error < 0) outcome_fail(out, error, child->bounded.step);
	*found = child->found;
	bounded_child_free(&child->bounded);
	return error;
}

static int configure(int context, const struct overlay_request *request, struct findings *found, struct outcome *out)
{
	/* unmount(path) recognises an overlay of this package by this source in mountinfo. */
	int error = call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, "source", "userns", 0);

	if (error == 0) error = set_lower(context, request, found);
	if (error < 0) return outcome_fail(out, error, "overlay lower");
	if (request->upper >= 0) {
		error = set_layer(context, "upperdir", request->upper);
		if (error < 0) return outcome_fail(out, error, "overlay upper");
		error = set_layer(context, "workdir", request->work);
		if (error < 0) return outcome_fail(out, error, "overlay work");
	}
	return run(context, -1, request, found, out);
}

/* If the kernel cannot prepare the work directory, the overlay is read-only, and only the kernel's log has a message. */
static int check_writable(const struct overlay_request *request, int tree, struct findings *found, struct outcome *out)
{
	int error = request->upper < 0 ? 0 : run(-1, tree, request, found, out);

	if (error < 0) return error;
	return (found->fs.f_flags & ST_RDONLY) != 0 ? outcome_fail(out, -EROFS, "overlay writable") : 0;
}

/*
 * 1. Configures the context, and makes the overlay in a child.
 * 2. Makes a mount of it.
 * 3. Checks that it can be written, and prepares a new upper layer.
 * 4. Sets the attributes, after these, because a read-only mount would hide the result and permit no change.
 */
static int make(int context, const struct overlay_request *request, struct outcome *out)
{
	const struct userns_mount_attr attributes = {.attr_set = request->attr_set, .attr_clr = request->attr_clr};
	struct findings found = {0};
	int error = configure(context, request, &found, out);
	AUTO_CLOSE int tree = error < 0 ? -1 : call_fsmount(context, 0);

	if (error < 0) return error;
	if (tree < 0) return outcome_fail(out, tree, "fsmount");
	if (check_writable(request, tree, &found, out) < 0) return out->error;
	if ((request->attr_set | request->attr_clr) != 0) error = call_mount_setattr(tree, 0, &attributes);
	if (error < 0) return outcome_fail(out, error, "mount_setattr");
	if (mount_note_ids(tree, out) < 0) return out->error;
	out->fd = take_fd(&tree);
	return 0;
}

static int scratch_directory(int tree, const char *name)
{
	if (mkdirat(tree, name, 0700) < 0) return -errno;
	int fd = openat(tree, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * With index=on the kernel refuses a layer that is, or lies in, another overlay's upper layer or work directory
 * (ovl_check_layer() and ovl_report_in_use() in fs/overlayfs/super.c). The layer is used as a lower layer, so nothing changes in
 * it: the upper layer and the work directory are on a scratch tmpfs, and the kernel logs nothing if the layer is free.
 */
static int ask_in_use(int context, const struct overlay_request *request, struct outcome *out)
{
	struct overlay_request question = *request;
	AUTO_CLOSE int tree = call_new_tmpfs();
	AUTO_CLOSE int upper = tree < 0 ? tree : scratch_directory(tree, "upper");
	AUTO_CLOSE int work = upper < 0 ? upper : scratch_directory(tree, "work");
	int error = work < 0 ? work : call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, "index", "on", 0);
	int *roots = calloc(request->root_count + 1, sizeof *roots);

	if (error < 0 || roots == NULL) error = outcome_fail(out, error < 0 ? error : -ENOMEM, "overlay in use");
	else {
		question.upper = upper;
		question.work = work;
		if (request->roots != NULL) {
			memcpy(roots, request->roots, request->root_count * sizeof *roots);
			roots[question.root_count++] = tree;
			question.roots = roots;
		}
		error = configure(context, &question, &(struct findings){0}, out);
	}
	free(roots);
	return error;
}

int overlay_make(const struct overlay_request *request, struct outcome *out)
{
	AUTO_CLOSE int context = call_fsopen("overlay");

	if (context < 0) return outcome_fail(out, context, "fsopen");
	int error = request->ask ? ask_in_use(context, request, out) : make(context, request, out);
	if (error < 0) out->texts[OUTCOME_LOG] = read_log(context);
	return error;
}
