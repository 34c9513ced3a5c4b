#include "mount/mntns-child.h"
#include "kernel/auto-close.h"
#include "kernel/portable.h"
#include "kernel/statx.h"
#include "proc/procfs.h"
#include <sys/mount.h>

/* Takes over `procfs`, which may be negative. Returns NULL if there is no memory. */
static struct mntns_child *new_child(const struct attach_request *request, int procfs)
{
	struct mntns_child *child = bounded_child_new(sizeof *child, request->waiter);

	if (child == NULL) {
		auto_close(&procfs);
		return NULL;
	}
	child->request = request;
	child->procfs = procfs;
	child->copy.attributes.userns_fd = (uint64_t)-1;
	child->channel.ends[0] = child->channel.ends[1] = -1;
	return child;
}

static void free_child(struct mntns_child *child)
{
	auto_close(&child->procfs);
	fd_passing_close(&child->channel);
	bounded_child_free(&child->bounded);
}

/* If /proc is hidden, a file can be unmounted only by the path of its descriptor in a private procfs. */
static int open_procfs(void)
{
	int fd = procfs_open();
	int own = fd < 0 ? procfs_make_private() : fd;

	return own < 0 ? fd : own;
}

/* Opens the location; with a procfs, the mountinfo of the mount namespace. Passes the descriptor on. */
NO_STACK_PROTECTOR static void open_and_send(struct mntns_child *child)
{
	const int procfs = child->procfs;
	long fd;

	if (procfs < 0) fd = location_open(&child->request->target);
	else fd = raw_syscall5(SYS_openat, procfs, (long)"thread-self/mountinfo", O_RDONLY | O_CLOEXEC, 0, 0);
	if (fd >= 0) fd = fd_passing_send(&child->channel, (int)fd);
	bounded_child_note(&child->bounded, fd, "target");
}

/* Copies the mount. Passes the descriptor on. */
NO_STACK_PROTECTOR static void copy_and_send(struct mntns_child *child)
{
	const struct mount_copy *copy = &child->copy;
	const int source = child->request->tree;
	long fd;

	if (copy->with_attributes) fd = call_open_tree_attr(source, "", copy->flags, &copy->attributes);
	else fd = call_open_tree(source, "", copy->flags | USERNS_OPEN_TREE_CLONE);
	if (fd >= 0) fd = fd_passing_send(&child->channel, (int)fd);
	bounded_child_note(&child->bounded, fd, copy->with_attributes ? "open_tree_attr" : "open_tree");
}

/* Joins the mount namespace and performs the task. */
NO_STACK_PROTECTOR static int child_main(void *argument)
{
	struct mntns_child *child = argument;
	const struct attach_request *request = child->request;
	const int map_ns = (int)child->copy.attributes.userns_fd;
	const int needed[] = {request->tree, request->mount_ns, request->target.fd, child->procfs, child->channel.ends[1], map_ns};
	long error = 0;

	bounded_child_begin(&child->bounded, needed, sizeof needed / sizeof needed[0]);
	/*
	 * Without CLONE_FS the root and the working directory are the child's own. setns(2) sets both to the root of the mount
	 * namespace, where a location without a descriptor starts.
	 */
	if (request->mount_ns >= 0) error = raw_syscall3(SYS_setns, request->mount_ns, CLONE_NEWNS, 0);
	if (error < 0) bounded_child_note(&child->bounded, error, "setns");
	else if (child->task == MNTNS_ATTACH) attach_steps(child);
	else if (child->task == MNTNS_JOIN_PEERS) join_peers_steps(child);
	else if (child->task == MNTNS_OPEN) open_and_send(child);
	else if (child->task == MNTNS_COPY) copy_and_send(child);
	else bounded_child_note(&child->bounded, unmount_steps(child->procfs, request->tree, request->unique), "umount");
	raw_exit(0);
}

/* Returns 1 if the procfs has the number of a descriptor of the request, which was closed then: /proc would be taken for it. */
static int has_number_of_procfs(const struct mntns_child *child)
{
	const struct attach_request *request = child->request;
	const int procfs = child->procfs;

	return procfs >= 0 && (procfs == request->tree || procfs == request->mount_ns || procfs == request->target.fd);
}

/* Runs the task in the child and waits for its end. Returns 0 or a negative errno. */
static int run(struct mntns_child *child, int task)
{
	if (has_number_of_procfs(child)) return bounded_child_note(&child->bounded, -EBADF, "identity");
	child->task = task;
	int error = bounded_child_run(&child->bounded, child_main, "mntns", "mntns killed");
	if (error != -ETIMEDOUT || child->bounded.began) return error;
	return bounded_child_note(&child->bounded, error, "mntns descriptors");
}

/*
 * Prevents a detached tree from being attached later: attaches it to a detached mount, whose directory no other process can lock,
 * and with which it is dropped. Needs Linux 6.15. Returns 0 or a negative errno; EINVAL also if the tree is attached by now.
 */
static int use_up(int tree)
{
	struct statx answer;
	AUTO_CLOSE int around = call_new_tmpfs();
	AUTO_CLOSE int file = -1;

	if (around < 0) return around;
	if (portable_statx(tree, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &answer) == 0 && !S_ISDIR(answer.stx_mode)) {
		file = openat(around, "file", O_RDONLY | O_CREAT | O_CLOEXEC, 0400);
		if (file < 0) return -errno;
	}
	return call_move_mount(tree, file >= 0 ? file : around, 0);
}

static int detach(int mount_ns, int fd, uint64_t unique, struct waiter *waiter, int undoes)
{
	const struct attach_request request = {
		.tree = fd,
		.unique = unique,
		.target = {.fd = -1},
		.mount_ns = mount_ns,
		.waiter = waiter,
	};
	struct mntns_child *child = new_child(&request, open_procfs());

	if (child == NULL) return -ENOMEM;
	child->bounded.undoes = undoes;
	int error = run(child, MNTNS_DETACH);
	free_child(child);
	return error;
}

/*
 * Removes the mount after the child was killed, because the child may have attached it in its last moment.
 *
 * 1. A child that waits in move_mount(2) for the lock of a directory would still attach the mount later: use_up() prevents that.
 * 2. A mount that is beneath another stays, because umount2(2) would unmount the topmost mount, which is the old one.
 * 3. Otherwise unmounts the mount. EINVAL: it is attached nowhere in that mount namespace (can_umount() in fs/namespace.c).
 */
static void undo_attach(struct mntns_child *child)
{
	const struct attach_request *request = child->request;
	const int abandoned = child->bounded.abandoned;
	const char *step = child->replacing;
	int error;

	if (abandoned && use_up(request->tree) >= 0) return;
	if (step == NULL) {
		error = detach(request->mount_ns, request->tree, request->unique, request->waiter, 1);
		if (error >= 0 || (!abandoned && error == -EINVAL)) return;
		step = abandoned ? "mntns held" : "mntns left";
	}
	child->left = 1;
	bounded_child_note(&child->bounded, child->bounded.error, step);
}

int mount_attach(const struct attach_request *request, struct outcome *out)
{
	struct mntns_child *child = new_child(request, open_procfs());

	if (child == NULL) return outcome_fail(out, -ENOMEM, "clone");
	int error = run(child, MNTNS_ATTACH);
	if (error == -ETIMEDOUT || error == -ECANCELED || error == -EINTR) undo_attach(child);
	if (error < 0) outcome_fail(out, error, child->bounded.step);
	out->left = child->left;
	free_child(child);
	return error;
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

int mount_join_peers(int mount_ns, int from, int to, struct waiter *waiter, struct outcome *out)
{
	const struct attach_request request = {
		.tree = to,
		.target = {.fd = from},
		.mount_ns = mount_ns,
		.propagation = MS_SHARED,
		.waiter = waiter,
	};
	struct mntns_child *child = new_child(&request, -1);

	if (child == NULL) return outcome_fail(out, -ENOMEM, "clone");
	int error = run(child, MNTNS_JOIN_PEERS);
	if (error < 0) outcome_fail(out, error, child->bounded.step);
	free_child(child);
	return error;
}

/* Performs a task that passes a descriptor on, and frees the child, which may be NULL. Notes a failure in `out`, which may be NULL. */
static int run_and_receive(struct mntns_child *child, int task, struct outcome *out)
{
	int answer;

	if (child == NULL) return out == NULL ? -ENOMEM : outcome_fail(out, -ENOMEM, "clone");
	bounded_child_note(&child->bounded, 0, "socketpair");
	answer = fd_passing_open(&child->channel);
	if (answer == 0) answer = run(child, task);
	if (answer == 0) answer = fd_passing_receive(&child->channel);
	if (answer < 0 && out != NULL) outcome_fail(out, answer, child->bounded.step);
	free_child(child);
	return answer;
}

/* Opens a location in a child that is in the mount namespace; with a procfs, the mountinfo. Takes over `procfs`. */
static int open_in(int mount_ns, const struct location *location, int procfs, struct waiter *waiter, struct outcome *out)
{
	const struct attach_request request = {.tree = -1, .target = *location, .mount_ns = mount_ns, .waiter = waiter};

	return run_and_receive(new_child(&request, procfs), MNTNS_OPEN, out);
}

int mount_open_in(int mount_ns, const struct location *location, struct waiter *waiter, struct outcome *out)
{
	return open_in(mount_ns, location, -1, waiter, out);
}

int mount_copy(int mount_ns, int fd, unsigned flags, const struct userns_mount_attr *attributes, struct waiter *waiter,
	       struct outcome *out)
{
	const struct attach_request request = {.tree = fd, .target = {.fd = -1}, .mount_ns = mount_ns, .waiter = waiter};
	struct mntns_child *child;
	int tree;

	if (mount_ns >= 0) {
		child = new_child(&request, -1);
		if (child == NULL) return outcome_fail(out, -ENOMEM, "clone");
		child->copy.flags = flags;
		child->copy.with_attributes = attributes != NULL;
		if (attributes != NULL) child->copy.attributes = *attributes;
		return run_and_receive(child, MNTNS_COPY, out);
	}
	if (attributes == NULL) tree = call_open_tree(fd, "", flags | USERNS_OPEN_TREE_CLONE);
	else tree = call_open_tree_attr(fd, "", flags, attributes);
	return tree < 0 ? outcome_fail(out, tree, attributes == NULL ? "open_tree" : "open_tree_attr") : tree;
}

/* Opens our own procfs first, because the container's /proc may be anything. Its mountinfo is that of the process that opens it. */
int mount_table_of(int mount_ns)
{
	const struct location nowhere = {.fd = -1};
	int procfs = procfs_open();

	return procfs < 0 ? procfs : open_in(mount_ns, &nowhere, procfs, NULL, NULL);
}

int mount_open_location(const struct location *location, struct waiter *waiter)
{
	const uint64_t resolve = location->resolve | USERNS_RESOLVE_CACHED;

	if (location->path == NULL) return location->fd;
	/* Two attempts, because a mount or a rename anywhere during the look-up also causes EAGAIN, but rarely twice in a row. */
	int fd = call_openat2(location_start(location), location->path, O_PATH, resolve, 2);
	/* EINVAL: before Linux 5.12; ENOSYS: before 5.6, or a seccomp filter. */
	return fd == -EAGAIN || fd == -EINVAL || fd == -ENOSYS ? open_in(-1, location, -1, waiter, NULL) : fd;
}
