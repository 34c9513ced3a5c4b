#include "inside.h"
#include "errand.h"
#include "passing.h"
#include "procfs.h"
#include <sys/mount.h>
#include <unistd.h>

/* What a child works on; it has a root and a working directory of its own. */
struct inside {
	struct errand errand;
	struct attaching at;
	/* For one that opens something for us. The last, since it ends in a control message, which has no size of its own. */
	struct passing passing;
};

/* In the child the working directory does it, which no /proc of a container can lie about. */
NO_STACK_PROTECTOR static int take_off(int fd)
{
	long error = raw_syscall3(SYS_fchdir, fd, 0, 0);

	if (error == 0) error = raw_syscall3(SYS_umount2, (long)".", MNT_DETACH, 0);
	return (int)error;
}

static struct inside *new_inside(const struct attach_request *request)
{
	struct inside *in = errand_new(sizeof *in);

	if (in == NULL) return NULL;
	in->at.request = request;
	in->at.inside = 1;
	in->at.take_off = take_off;
	in->passing.ends[0] = in->passing.ends[1] = -1;
	return in;
}

NO_STACK_PROTECTOR static void join(struct inside *in, int mount_ns)
{
	long error;

	errand_begin(&in->errand);
	if (mount_ns < 0) return;
	/*
	 * Without CLONE_FS the root and the working directory are the child's own, and now the namespace's root: a place
	 * without a descriptor starts there.
	 */
	error = raw_syscall3(SYS_setns, mount_ns, CLONE_NEWNS, 0);
	if (error >= 0) return;
	attach_fail(&in->at, error, "setns");
	raw_exit(1);
}

/*
 * The table of descriptors becomes the child's own, with no more in it than it needs: held up by a file system of the
 * container it would keep our pipes and sockets open beyond our own end, and what it opens after all would stay with us.
 */
NO_STACK_PROTECTOR static void keep_needed(struct inside *in)
{
	const struct attach_request *request = in->at.request;
	int needed[] = {request->tree, request->mount_ns, request->target.fd, in->passing.ends[1]};
	const int count = sizeof needed / sizeof needed[0];
	long error = raw_syscall3(SYS_unshare, CLONE_FILES, 0, 0);
	long from = 0; /* one more than the largest descriptor has no place in an int */

	if (error < 0) {
		attach_fail(&in->at, error, "inside");
		raw_exit(1);
	}
	for (int round = 0; round < count; round++) {
		long next = -1;

		for (int i = 0; i < count; i++) {
			if (needed[i] >= from && (next < 0 || needed[i] < next)) next = needed[i];
		}
		if (next < 0) break;
		if (next > from) raw_syscall3(SYS_close_range, from, next - 1, 0);
		from = next + 1;
	}
	raw_syscall3(SYS_close_range, from, ~0U, 0);
}

NO_STACK_PROTECTOR static int attach_inside(void *argument)
{
	struct inside *in = argument;

	keep_needed(in);
	join(in, in->at.request->mount_ns);
	attach_steps(&in->at);
	raw_exit(0);
}

/* Runs a body in a child, until its end. */
static int run(struct inside *in, child_body *body)
{
	int error;

	attach_fail(&in->at, -ETIMEDOUT, "inside"); /* for as long as the body has said nothing else */
	error = errand_run(&in->errand, body, in);
	if (error < 0 && error != -ETIMEDOUT) return attach_fail(&in->at, error, "clone");
	return in->at.error;
}

/* Makes a detached tree one that can be attached nowhere, which takes Linux 6.15. 0 or a negative errno. */
static int use_up(int tree)
{
	int around = call_open_tree(tree, "", USERNS_OPEN_TREE_CLONE);
	int error;

	if (around < 0) return around;
	error = call_move_mount(tree, around, 0);
	close(around);
	return error;
}

/*
 * After the child was killed. It may have attached the mount in its last moment. And one that is held in move_mount(2), where
 * it waits for the lock of a directory that a file system of the container keeps, would attach it yet.
 */
static void take_back(struct inside *in)
{
	const struct attach_request *request = in->at.request;
	int sure = in->errand.held ? use_up(request->tree) : -EINVAL;

	if (sure >= 0) return;
	sure = mount_detach_in(request->mount_ns, request->tree);
	if (sure < 0 && in->errand.held) attach_fail(&in->at, -ETIMEDOUT, "inside held");
}

void inside_attach(const struct attach_request *request, struct outcome *out)
{
	struct inside *in = new_inside(request);

	if (in == NULL) {
		outcome_fail(out, -ENOMEM, "clone");
		return;
	}
	if (run(in, attach_inside) == -ETIMEDOUT) take_back(in);
	if (in->at.error < 0) outcome_fail(out, in->at.error, in->at.step);
	errand_free(&in->errand);
}

NO_STACK_PROTECTOR static int detach_inside(void *argument)
{
	struct inside *in = argument;
	long error;

	keep_needed(in);
	join(in, in->at.request->mount_ns);
	error = take_off(in->at.request->tree);
	if (error < 0) attach_fail(&in->at, error, "umount");
	else in->at.error = 0;
	raw_exit(0);
}

int mount_detach_in(int mount_ns, int fd)
{
	struct attach_request request = {.tree = fd, .target = {.fd = -1}, .mount_ns = mount_ns};
	struct inside *in = new_inside(&request);
	int error;

	if (in == NULL) return -ENOMEM;
	error = run(in, detach_inside);
	errand_free(&in->errand);
	return error;
}

NO_STACK_PROTECTOR static int open_inside(void *argument)
{
	struct inside *in = argument;
	const struct place *place = &in->at.request->target;
	long fd;

	/* In its own table: a file system that answers after the child was killed would put a descriptor into ours. */
	keep_needed(in);
	join(in, in->at.request->mount_ns);
	if (place->resolve != 0) fd = place_open(place);
	else fd = raw_syscall5(SYS_openat, place->fd, (long)place->path, O_RDONLY | O_CLOEXEC, 0, 0);
	if (fd >= 0) fd = passing_send(&in->passing, (int)fd);
	if (fd < 0) attach_fail(&in->at, fd, "target");
	else in->at.error = 0;
	raw_exit(0);
}

/* Opens a place in a child that is in the mount namespace. A descriptor or a negative errno. */
static int open_in(int mount_ns, const struct place *place)
{
	struct attach_request request = {.tree = -1, .target = *place, .mount_ns = mount_ns};
	struct inside *in = new_inside(&request);
	int answer;

	if (in == NULL) return -ENOMEM;
	answer = passing_open(&in->passing);
	if (answer == 0) answer = run(in, open_inside);
	if (answer == 0) answer = passing_receive(&in->passing);
	passing_close(&in->passing);
	errand_free(&in->errand);
	return answer;
}

int mount_open_in(int mount_ns, int root, const char *path)
{
	struct place place = {
		.fd = root,
		.path = path,
		.resolve = USERNS_RESOLVE_IN_ROOT | USERNS_RESOLVE_NO_MAGICLINKS,
	};

	return open_in(mount_ns, &place);
}

/* Our own procfs is opened before: the container's may show anything. Its mountinfo is that of who opens it. */
int mount_table_of(int mount_ns)
{
	struct place place = {.fd = procfs_open(), .path = "thread-self/mountinfo"};
	int fd;

	if (place.fd < 0) return place.fd;
	fd = open_in(mount_ns, &place);
	close(place.fd);
	return fd;
}
