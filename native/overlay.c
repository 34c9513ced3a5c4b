#include "overlay.h"
#include "errand.h"
#include "mount-calls.h"
#include "mount-facts.h"
#include "procfs.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
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
	struct errand errand;
	const struct overlay_request *request;
	int context;
	int error;
	const char *step;
};

/* Where the roots cover each other does not matter: a path from the root directory starts below all of them. */
NO_STACK_PROTECTOR static long attach_and_create(struct creating *creating)
{
	const struct overlay_request *request = creating->request;
	long error = raw_syscall3(SYS_unshare, CLONE_NEWNS, 0, 0);

	creating->step = "overlay layers";
	/* Else they would appear at the peers of a shared root in other namespaces. */
	if (error >= 0) error = raw_syscall5(SYS_mount, 0, (long)"/", 0, MS_REC | MS_PRIVATE, 0);
	for (size_t i = 0; error >= 0 && i < request->root_count; i++) {
		error = raw_syscall5(SYS_move_mount, request->roots[i], (long)"", AT_FDCWD, (long)"/",
				     USERNS_MOVE_MOUNT_F_EMPTY_PATH);
	}
	if (error < 0) return error;
	creating->step = "overlay create";
	return call_fsconfig(creating->context, USERNS_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

NO_STACK_PROTECTOR static int create_body(void *argument)
{
	struct creating *creating = argument;

	errand_begin(&creating->errand);
	creating->error = (int)attach_and_create(creating);
	raw_exit(0);
}

static int create_inside(int context, const struct overlay_request *request, struct outcome *out)
{
	struct creating *creating = errand_new(sizeof *creating);
	int error;

	if (creating == NULL) return outcome_fail(out, -ENOMEM, "overlay layers");
	creating->step = "overlay layers";
	creating->request = request;
	creating->context = context;
	creating->error = -ETIMEDOUT;
	error = errand_run(&creating->errand, create_body, creating);
	if (error >= 0) error = creating->error;
	if (error < 0) outcome_fail(out, error, creating->step);
	errand_free(&creating->errand);
	return error;
}

static int configure(int context, const struct overlay_request *request, struct outcome *out)
{
	/* By this source in mountinfo unmount(path) knows an overlay of this package. */
	int error = call_fsconfig(context, USERNS_FSCONFIG_SET_STRING, "source", "userns", 0);

	if (error == 0) error = set_lower(context, request);
	if (error < 0) return outcome_fail(out, error, "overlay lower");
	if (request->upper >= 0) {
		error = set_layer(context, "upperdir", request->upper);
		if (error < 0) return outcome_fail(out, error, "overlay upper");
		error = set_layer(context, "workdir", request->work);
		if (error < 0) return outcome_fail(out, error, "overlay work");
	}
	if (request->roots != NULL) return create_inside(context, request, out);
	error = call_fsconfig(context, USERNS_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	return error < 0 ? outcome_fail(out, error, "overlay create") : 0;
}

/* An overlay that cannot prepare its work directory says so in the kernel's log only, and is read-only. */
static int check_writable(const struct overlay_request *request, int tree)
{
	struct statfs fs;

	if (request->upper < 0) return 0;
	if (fstatfs(tree, &fs) < 0) return -errno;
	return (fs.f_flags & ST_RDONLY) != 0 ? -EROFS : 0;
}

static int make(int context, const struct overlay_request *request, struct outcome *out)
{
	struct mount_facts facts;
	int error = configure(context, request, out);
	int tree;

	if (error < 0) return error;
	/* The attributes afterwards: read-only ones would hide what the check looks for. */
	tree = call_fsmount(context, 0);
	if (tree < 0) return outcome_fail(out, tree, "fsmount");
	error = check_writable(request, tree);
	if (error < 0) outcome_fail(out, error, "overlay writable");
	else {
		struct userns_mount_attr attributes = {.attr_set = request->attr_set, .attr_clr = request->attr_clr};

		error = (request->attr_set | request->attr_clr) == 0 ? 0 : call_mount_setattr(tree, 0, &attributes);
		if (error < 0) outcome_fail(out, error, "mount_setattr");
		else {
			error = mount_facts(tree, &facts);
			if (error < 0) outcome_fail(out, error, "statx");
		}
	}
	if (error < 0) {
		close(tree);
		return error;
	}
	out->mount_id = facts.id;
	out->fd = tree;
	return 0;
}

void overlay_make(const struct overlay_request *request, struct outcome *out)
{
	int context = call_fsopen("overlay");

	if (context < 0) {
		outcome_fail(out, context, "fsopen");
		return;
	}
	if (make(context, request, out) < 0) out->texts[OUTCOME_LOG] = read_log(context);
	close(context);
}
