#include "mount/mntns-child.h"
#include "child/bounded-child.h"
#include "child/fd-passing.h"
#include "kernel/statx.h"
#include "proc/procfs.h"
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a child works on; it has a root and a working directory of its own. */
struct inside {
	struct bounded_child bounded;
	struct attaching at;
	/* For one that opens something for us. The last, since it ends in a control message, which has no size of its own. */
	struct fd_passing channel;
};

static struct inside *new_inside(const struct attach_request *request)
{
	struct inside *in = bounded_child_new(sizeof *in, request->waiter);

	if (in == NULL) return NULL;
	in->at.request = request;
	in->at.procfs = -1;
	in->channel.ends[0] = in->channel.ends[1] = -1;
	return in;
}

static void free_inside(struct inside *in)
{
	if (in->at.procfs >= 0) close(in->at.procfs);
	bounded_child_free(&in->bounded);
}

/* Where /proc is hidden a file can be unmounted by the name of its descriptor in a procfs of our own, and by nothing else. */
static int open_procfs(void)
{
	int fd = procfs_open();
	int own;

	if (fd >= 0) return fd;
	own = procfs_make_private();
	return own < 0 ? fd : own;
}

/* For a body, first of all. */
NO_STACK_PROTECTOR static void begin(struct inside *in)
{
	const struct attach_request *request = in->at.request;
	const int mount_ns = request->mount_ns;
	int needed[] = {request->tree, mount_ns, request->target.fd, in->at.procfs, in->channel.ends[1]};
	long error;

	bounded_child_begin(&in->bounded, needed, sizeof needed / sizeof needed[0]);
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
 * Runs a body in a child, until its end. One that had to be killed may have been through: with the descriptors of the child goes
 * perhaps the last reference to what was unmounted, and shutting a file system down takes as long as it has something to write
 * (generic_shutdown_super() in fs/super.c). What the body says last, 0, is then what is true.
 */
static int run(struct inside *in, child_body *body)
{
	int error;

	attach_fail(&in->at, -EINTR, "mntns killed"); /* unless the body reports another result */
	error = bounded_child_run(&in->bounded, body, in);
	if ((error == -ETIMEDOUT || error == -ECANCELED) && in->at.error == 0) return 0;
	if (error == -ETIMEDOUT && !in->bounded.began) return attach_fail(&in->at, error, "mntns descriptors");
	if (error == -ETIMEDOUT || error == -ECANCELED) return attach_fail(&in->at, error, "mntns");
	if (error < 0) return attach_fail(&in->at, error, "clone");
	return in->at.error;
}

NO_STACK_PROTECTOR static int attach_inside(void *argument)
{
	struct inside *in = argument;

	begin(in);
	attach_steps(&in->at);
	raw_exit(0);
}

/* A new tmpfs that is attached nowhere and reachable only by its descriptor. */
static int make_tmpfs(void)
{
	int context = call_fsopen("tmpfs");
	int fd;

	if (context < 0) return context;
	fd = call_fsconfig(context, USERNS_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (fd == 0) fd = call_fsmount(context, 0);
	close(context);
	return fd;
}

/*
 * Makes sure that a detached tree is attached nowhere later: attaches it to a detached mount, whose directory no other
 * process can lock, and with which it is dropped. Needs Linux 6.15. Returns 0 or a negative errno; EINVAL also when the tree
 * is attached by now.
 */
static int use_up(int tree)
{
	struct statx answer;
	int around = make_tmpfs();
	int target = around;
	int error = around;

	if (around < 0) return error;
	if (statx(tree, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &answer) == 0 && !S_ISDIR(answer.stx_mode)) {
		target = openat(around, "file", O_RDONLY | O_CREAT | O_CLOEXEC, 0400);
	}
	error = target < 0 ? -errno : call_move_mount(tree, target, 0);
	if (target >= 0 && target != around) close(target);
	close(around);
	return error;
}

NO_STACK_PROTECTOR static int detach_inside(void *argument)
{
	struct inside *in = argument;
	long error;

	begin(in);
	error = unmount_steps(in->at.procfs, in->at.request->tree, in->at.request->unique);
	if (error < 0) attach_fail(&in->at, error, "umount");
	else in->at.error = 0;
	raw_exit(0);
}

static int detach(int mount_ns, int fd, uint64_t unique, struct waiter *waiter, int undoes)
{
	struct attach_request request = {
		.tree = fd,
		.unique = unique,
		.target = {.fd = -1},
		.mount_ns = mount_ns,
		.waiter = waiter,
	};
	struct inside *in = new_inside(&request);
	int error;

	if (in == NULL) return -ENOMEM;
	in->bounded.undoes = undoes;
	in->at.procfs = open_procfs();
	error = run(in, detach_inside);
	free_inside(in);
	return error;
}

/*
 * After the child was killed. It may have attached the mount in its last moment. And one that is held in move_mount(2), where
 * it waits for the lock of a directory, would attach it yet. One that lies beneath another stays: umount2(2) takes the topmost
 * mount, which would be the old one.
 */
static void take_back(struct inside *in)
{
	const struct attach_request *request = in->at.request;
	int sure;

	sure = in->bounded.held ? use_up(request->tree) : -EINVAL;
	if (sure >= 0) return;
	if (in->at.exchanging != NULL) {
		in->at.left = 1;
		attach_fail(&in->at, in->at.error, in->at.exchanging);
		return;
	}
	sure = detach(request->mount_ns, request->tree, request->unique, request->waiter, 1);
	if (sure >= 0) return;
	/* EINVAL: it is attached nowhere in that mount namespace (can_umount() in fs/namespace.c). */
	if (!in->bounded.held && sure == -EINVAL) return;
	in->at.left = 1;
	attach_fail(&in->at, in->at.error, in->bounded.held ? "mntns held" : "mntns left");
}

void mount_attach(const struct attach_request *request, struct outcome *out)
{
	struct inside *in = new_inside(request);
	int error;

	if (in == NULL) {
		outcome_fail(out, -ENOMEM, "clone");
		return;
	}
	in->at.procfs = open_procfs();
	error = run(in, attach_inside);
	if (error == -ETIMEDOUT || error == -ECANCELED || error == -EINTR) take_back(in);
	if (in->at.error < 0) outcome_fail(out, in->at.error, in->at.step);
	out->left = in->at.left;
	free_inside(in);
}

int mount_detach(int mount_ns, int fd, uint64_t unique, struct waiter *waiter)
{
	return detach(mount_ns, fd, unique, waiter, 0);
}

int mount_detach_alone(int fd, uint64_t unique, struct waiter *waiter)
{
	uint64_t here = 0;
	uint64_t on;
	long error = statx_unique_id(fd, &here);

	if (error < 0) return (int)error;
	if (unique == 0 || here == 0) return -ENOSYS;
	if (here != unique) return -ESTALE;
	error = call_listmount(unique, 0, 0, &on, 1);
	if (error == -ENOENT) return 0;
	if (error != 0) return error < 0 ? (int)error : -EBUSY;
	error = mount_detach(-1, fd, unique, waiter);
	if (error < 0) return (int)error;
	return call_listmount(unique, 0, 0, &on, 1) >= 0;
}

NO_STACK_PROTECTOR static int open_inside(void *argument)
{
	struct inside *in = argument;
	const struct location *location = &in->at.request->target;
	long fd;

	begin(in);
	if (in->at.procfs >= 0) {
		fd = raw_syscall5(SYS_openat, in->at.procfs, (long)"thread-self/mountinfo", O_RDONLY | O_CLOEXEC, 0, 0);
	} else {
		fd = location_open(location);
	}
	if (fd >= 0) fd = fd_passing_send(&in->channel, (int)fd);
	if (fd < 0) attach_fail(&in->at, fd, "target");
	else in->at.error = 0;
	raw_exit(0);
}

/* Opens a place in a child that is in the mount namespace; with a procfs, the namespace's mountinfo. */
static int open_in(int mount_ns, const struct location *location, int procfs, struct waiter *waiter)
{
	struct attach_request request = {.tree = -1, .target = *location, .mount_ns = mount_ns, .waiter = waiter};
	struct inside *in = new_inside(&request);
	int answer;

	if (in == NULL) return -ENOMEM;
	in->at.procfs = procfs;
	answer = fd_passing_open(&in->channel);
	if (answer == 0) answer = run(in, open_inside);
	if (answer == 0) answer = fd_passing_receive(&in->channel);
	fd_passing_close(&in->channel);
	free_inside(in);
	return answer;
}

int mount_open_in(int mount_ns, const struct location *location, struct waiter *waiter)
{
	return open_in(mount_ns, location, -1, waiter);
}

NO_STACK_PROTECTOR static int join_peers_inside(void *argument)
{
	struct inside *in = argument;

	begin(in);
	join_peers_steps(&in->at);
	raw_exit(0);
}

void mount_join_peers(int mount_ns, int from, int to, struct waiter *waiter, struct outcome *out)
{
	struct attach_request request = {
		.tree = to,
		.target = {.fd = from},
		.mount_ns = mount_ns,
		.propagation = MS_SHARED,
		.waiter = waiter,
	};
	struct inside *in = new_inside(&request);

	if (in == NULL) {
		outcome_fail(out, -ENOMEM, "clone");
		return;
	}
	if (run(in, join_peers_inside) < 0) outcome_fail(out, in->at.error, in->at.step);
	free_inside(in);
}

/* Our own procfs is opened before: the container's may show anything. Its mountinfo is that of who opens it. */
int mount_table_of(int mount_ns)
{
	const struct location nowhere = {.fd = -1};
	int procfs = procfs_open();

	return procfs < 0 ? procfs : open_in(mount_ns, &nowhere, procfs, NULL);
}

/* A mount or a rename anywhere during the look-up is EAGAIN too, but hardly ever twice in a row. */
#define CACHED_TRIES 2

static int open_cached(const struct location *location)
{
	struct userns_open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = location->resolve | USERNS_RESOLVE_CACHED,
	};
	long fd = -EAGAIN;

	for (int i = 0; i < CACHED_TRIES && fd == -EAGAIN; i++) {
		fd = raw_syscall5(SYS_openat2, location->fd < 0 ? AT_FDCWD : location->fd, (long)location->path, (long)&how, sizeof how, 0);
	}
	return (int)fd;
}

int mount_open_location(const struct location *location, struct waiter *waiter)
{
	int fd;

	if (location->path == NULL) return location->fd;
	fd = open_cached(location);
	/* EINVAL: before Linux 5.12; ENOSYS: before 5.6, or a filter. */
	return fd == -EAGAIN || fd == -EINVAL || fd == -ENOSYS ? open_in(-1, location, -1, waiter) : fd;
}
