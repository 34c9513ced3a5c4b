#include "attach.h"
#include "errand.h"
#include "mount-facts.h"
#include "passing.h"
#include "procfs.h"
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The steps are raw system calls, since they are made in two ways: on a thread of ours, and in a child that shares our
 * memory and has joined another mount namespace. That child keeps our own user namespace, so those who live in the
 * other one cannot trace it (DESIGN: joining only a mount namespace leaves the credentials where they are).
 */
struct attaching {
	struct errand errand;
	const struct attach_request *request;
	int inside; /* in a child that has a root and a working directory of its own */
	int opened;   /* what it has opened in our table, or −1 */
	int error;
	const char *step;
	/* For a child that opens something for us. The last, since it ends in a control message, which has no size of its own. */
	struct passing passing;
};

NO_STACK_PROTECTOR static int fail(struct attaching *at, long error, const char *step)
{
	at->error = (int)error;
	at->step = step;
	return (int)error;
}

int mount_detach(int fd)
{
	/* MNT_DETACH, since our own descriptor keeps the mount busy. A lie under the name would take another mount off. */
	char name[64];

	/* Where /proc is no good a child does it: what must not stay must not stay for want of a /proc either. */
	if (procfs_own_fd(fd, name, sizeof name) < 0) return mount_detach_in(-1, fd);
	return umount2(name, MNT_DETACH) < 0 ? -errno : 0;
}

int mount_detach_alone(int fd)
{
	uint64_t unique = 0;
	uint64_t on;
	long error = mount_unique_id(fd, &unique);

	if (error < 0) return (int)error;
	if (unique == 0) return -ENOSYS;
	error = call_listmount(unique, 0, 0, &on, 1);
	if (error == -ENOENT) return 0;
	if (error != 0) return error < 0 ? (int)error : -EBUSY;
	error = mount_detach(fd);
	if (error < 0) return (int)error;
	return call_listmount(unique, 0, 0, &on, 1) >= 0;
}

/* In the child the working directory does it, which no /proc of a container can lie about. */
NO_STACK_PROTECTOR static long take_off(const struct attaching *at, int fd)
{
	long error;

	if (!at->inside) return mount_detach(fd);
	error = raw_syscall3(SYS_fchdir, fd, 0, 0);
	return error < 0 ? error : raw_syscall3(SYS_umount2, (long)".", MNT_DETACH, 0);
}

NO_STACK_PROTECTOR static long make_propagate(const struct attach_request *request)
{
	struct userns_mount_attr attributes;

	attributes.attr_set = 0;
	attributes.attr_clr = 0;
	attributes.propagation = request->propagation;
	attributes.userns_fd = 0;
	return call_mount_setattr(request->tree, request->recursive, &attributes);
}

/* 1 when something is mounted at that very place, 0 when not, or a negative errno. */
NO_STACK_PROTECTOR static long is_mount_root(int fd)
{
	struct statx answer;
	long error = raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, (long)&answer);

	if (error < 0) return error;
	return (answer.stx_attributes & USERNS_STATX_ATTR_MOUNT_ROOT) != 0;
}

/*
 * The new mount goes beneath the old one, which is then taken off: at no moment is the place bare. There is no way back
 * once it lies beneath, so whatever can be tried first is: a propagation that cannot be set, a filter on umount2(2).
 */
NO_STACK_PROTECTOR static int exchange(struct attaching *at, int target)
{
	const struct attach_request *request = at->request;
	long error = make_propagate(request);

	if (error < 0) return fail(at, error, "propagation");
	error = raw_syscall3(SYS_umount2, (long)"", MNT_DETACH, 0);
	if (error != -ENOENT) return fail(at, error < 0 ? error : -EIO, "umount");
	error = call_move_mount(request->tree, target, USERNS_MOVE_MOUNT_BENEATH);
	if (error < 0) return fail(at, error, "beneath");
	/* Before it is made private: as a peer of what others received, it takes the old mount off there too. */
	error = take_off(at, target);
	if (error < 0) return fail(at, error, "umount old");
	error = make_propagate(request);
	if (error < 0) return fail(at, error, "propagation beneath");
	at->error = 0;
	return 0;
}

/* From the attach on the mount is to be seen; every failure takes it off again. */
NO_STACK_PROTECTOR static int put_on(struct attaching *at, int target)
{
	const struct attach_request *request = at->request;
	long error = request->replace ? is_mount_root(target) : 0;

	if (error < 0) return fail(at, error, "statx");
	if (error > 0) return exchange(at, target);
	error = call_move_mount(request->tree, target, 0);
	if (error < 0) return fail(at, error, "move_mount");
	/* Under a shared parent attaching makes a mount shared (attach_recursive_mnt in fs/namespace.c). */
	error = make_propagate(request);
	if (error < 0) {
		take_off(at, request->tree);
		return fail(at, error, "propagation");
	}
	at->error = 0;
	return 0;
}

NO_STACK_PROTECTOR static int attach(struct attaching *at)
{
	const struct place *place = &at->request->target;
	int target = place_open(place);

	if (target < 0) return fail(at, target, "target");
	if (place->path != NULL && !at->inside) at->opened = target;
	return put_on(at, target);
}

/* What was opened in our own table of descriptors. */
static void close_opened(const struct attaching *at)
{
	if (at->opened >= 0) close(at->opened);
}

NO_STACK_PROTECTOR static void join(struct attaching *at, int mount_ns)
{
	long error;

	child_die_with_parent(&at->errand.child);
	if (mount_ns < 0) return;
	/*
	 * Without CLONE_FS the root and the working directory are the child's own, and now the namespace's root: a place
	 * without a descriptor starts there.
	 */
	error = raw_syscall3(SYS_setns, mount_ns, CLONE_NEWNS, 0);
	if (error >= 0) return;
	fail(at, error, "setns");
	raw_exit(1);
}

/*
 * The table of descriptors becomes the child's own, with no more in it than it needs: held up by a file system of the
 * container it would keep our pipes and sockets open beyond our own end, and what it opens after all would stay with us.
 */
NO_STACK_PROTECTOR static void keep_needed(struct attaching *at)
{
	const struct attach_request *request = at->request;
	int needed[] = {request->tree, request->mount_ns, request->target.fd, at->passing.ends[1]};
	const int count = sizeof needed / sizeof needed[0];
	long error = raw_syscall3(SYS_unshare, CLONE_FILES, 0, 0);
	long from = 0; /* one more than the largest descriptor has no place in an int */

	if (error < 0) {
		fail(at, error, "inside");
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
	struct attaching *at = argument;

	keep_needed(at);
	join(at, at->request->mount_ns);
	attach(at);
	raw_exit(0);
}

static struct attaching *new_attaching(const struct attach_request *request, int inside)
{
	struct attaching *at = errand_new(sizeof *at);

	if (at == NULL) return NULL;
	at->request = request;
	at->inside = inside;
	at->opened = -1;
	at->passing.ends[0] = at->passing.ends[1] = -1;
	return at;
}

/*
 * Runs a body in a child, until its end. A path in a container may lead through a file system that is served from inside
 * it and never answers.
 */
static int run(struct attaching *at, child_body *body)
{
	int error;

	fail(at, -ETIMEDOUT, "inside"); /* for as long as the body has said nothing else */
	error = errand_run(&at->errand, body, at);
	if (error < 0 && error != -ETIMEDOUT) return fail(at, error, "clone");
	return at->error;
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
static void take_back(struct attaching *at)
{
	const struct attach_request *request = at->request;
	int sure = at->errand.held ? use_up(request->tree) : -EINVAL;

	if (sure >= 0) return;
	sure = mount_detach_in(request->mount_ns, request->tree);
	if (sure < 0 && at->errand.held) fail(at, -ETIMEDOUT, "inside held");
}

void mount_attach(const struct attach_request *request, struct outcome *out)
{
	struct attaching *at = new_attaching(request, request->mount_ns >= 0);

	if (at == NULL) {
		outcome_fail(out, -ENOMEM, "clone");
		return;
	}
	if (!at->inside) attach(at);
	else if (run(at, attach_inside) == -ETIMEDOUT) take_back(at);
	close_opened(at);
	if (at->error < 0) outcome_fail(out, at->error, at->step);
	errand_free(&at->errand);
}

NO_STACK_PROTECTOR static int detach_inside(void *argument)
{
	struct attaching *at = argument;
	long error;

	keep_needed(at);
	join(at, at->request->mount_ns);
	error = take_off(at, at->request->tree);
	if (error < 0) fail(at, error, "umount");
	else at->error = 0;
	raw_exit(0);
}

int mount_detach_in(int mount_ns, int fd)
{
	struct attach_request request = {.tree = fd, .target = {.fd = -1}, .mount_ns = mount_ns};
	struct attaching *at = new_attaching(&request, 1);
	int error;

	if (at == NULL) return -ENOMEM;
	error = run(at, detach_inside);
	errand_free(&at->errand);
	return error;
}

NO_STACK_PROTECTOR static int open_inside(void *argument)
{
	struct attaching *at = argument;
	const struct place *place = &at->request->target;
	long fd;

	/* In its own table: a file system that answers after the child was killed would put a descriptor into ours. */
	keep_needed(at);
	join(at, at->request->mount_ns);
	if (place->resolve != 0) fd = place_open(place);
	else fd = raw_syscall5(SYS_openat, place->fd, (long)place->path, O_RDONLY | O_CLOEXEC, 0, 0);
	if (fd >= 0) fd = passing_send(&at->passing, (int)fd);
	if (fd < 0) fail(at, fd, "target");
	else at->error = 0;
	raw_exit(0);
}

/* Opens a place in a child that is in the mount namespace. A descriptor or a negative errno. */
static int open_in(int mount_ns, const struct place *place)
{
	struct attach_request request = {.tree = -1, .target = *place, .mount_ns = mount_ns};
	struct attaching *at = new_attaching(&request, 1);
	int answer;

	if (at == NULL) return -ENOMEM;
	answer = passing_open(&at->passing);
	if (answer == 0) answer = run(at, open_inside);
	if (answer == 0) answer = passing_receive(&at->passing);
	passing_close(&at->passing);
	errand_free(&at->errand);
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
