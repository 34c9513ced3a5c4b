#include "mount/attach-steps.h"
#include "kernel/statx.h"
#include <sys/mount.h>

NO_STACK_PROTECTOR static int note(struct mntns_child *child, long error, const char *step)
{
	return bounded_child_note(&child->bounded, error, step);
}

NO_STACK_PROTECTOR static long set_propagation(const struct attach_request *request)
{
	struct userns_mount_attr attributes;

	if (request->propagation == 0) return 0;
	attributes.attr_set = 0;
	attributes.attr_clr = 0;
	attributes.propagation = request->propagation;
	attributes.userns_fd = 0;
	return call_mount_setattr(request->tree, request->recursive, &attributes);
}

/* Writes the path "thread-self/fd/N" below a procfs. */
NO_STACK_PROTECTOR static void name_descriptor(int fd, char name[32])
{
	static const char folder[] = "thread-self/fd/";
	char digits[12];
	int count = 0;
	int length = 0;

	while (folder[length] != '\0') {
		name[length] = folder[length];
		length++;
	}
	do {
		digits[count++] = (char)('0' + fd % 10);
		fd /= 10;
	} while (fd > 0);
	while (count > 0) name[length++] = digits[--count];
	name[length] = '\0';
}

/* Compares the unique mount ID, because a descriptor that other code has closed can be another mount's by now. */
NO_STACK_PROTECTOR static long check_identity(int fd, uint64_t unique)
{
	uint64_t here = 0;
	long error = unique == 0 ? 0 : statx_unique_id(fd, &here);

	if (error < 0) return error;
	return here == 0 || here == unique ? 0 : -ESTALE; /* 0: before Linux 6.8, or not to be compared */
}

/*
 * mount(2) and umount2(2) take a path. The path of the descriptor in our own procfs works for files and for directories, and needs
 * no permission on a directory. Without a usable /proc, "." works for a directory. The path is relative to the working directory,
 * which this function changes.
 */
NO_STACK_PROTECTOR static long reach(int procfs, int fd, char name[32])
{
	name[0] = '.';
	name[1] = '\0';
	if (procfs >= 0) name_descriptor(fd, name);
	return raw_syscall3(SYS_fchdir, procfs >= 0 ? procfs : fd, 0, 0);
}

/* mount(2) changes the propagation before Linux 5.12 too, but only of an attached mount: a pinned namespace needs no newer kernel. */
NO_STACK_PROTECTOR static long set_attached_propagation(const struct mntns_child *child)
{
	const struct attach_request *request = child->request;
	char name[32];
	long error = set_propagation(request);

	if (error != -ENOSYS) return error;
	error = reach(child->procfs, request->tree, name);
	if (error < 0) return error;
	return raw_syscall5(SYS_mount, 0, (long)name, 0, (long)request->propagation | (request->recursive ? MS_REC : 0), 0);
}

NO_STACK_PROTECTOR long unmount_steps(int procfs, int fd, uint64_t unique)
{
	char name[32];
	long error = check_identity(fd, unique);

	if (error < 0) return error;
	error = reach(procfs, fd, name);
	if (error < 0) return error;
	/*
	 * A mount that cannot be unmounted, such as a locked mount in a container, must stay unchanged. MNT_EXPIRE checks that first
	 * (can_umount() in fs/namespace.c). Then a mount in use, as ours is by the descriptor, is EBUSY, and another mount on top of
	 * it is only marked as expired until its next use.
	 */
	error = raw_syscall3(SYS_umount2, (long)name, MNT_EXPIRE, 0);
	if (error < 0 && error != -EBUSY && error != -EAGAIN) return error;
	/*
	 * The unmount of a child mount propagates to the peers of its parent (propagate_umount() in fs/pnode.c): below a mount that
	 * is a peer of the source it would unmount the source's own submounts. The unmount of the mount itself still propagates to
	 * the peers of its parent. A mount that cannot be made private must not be unmounted.
	 */
	error = raw_syscall5(SYS_mount, 0, (long)name, 0, MS_REC | MS_PRIVATE, 0);
	return error < 0 ? error : raw_syscall3(SYS_umount2, (long)name, MNT_DETACH, 0);
}

/* Returns 1 if the descriptor is the root of a mount, 0 if not, or a negative errno. */
NO_STACK_PROTECTOR static long is_mount_root(int fd)
{
	struct statx answer;
	long error = raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, (long)&answer);

	return error < 0 ? error : (answer.stx_attributes & USERNS_STATX_ATTR_MOUNT_ROOT) != 0;
}

/*
 * Attaches the new mount beneath the old one, and unmounts the old one, so that a mount is visible at the target at every moment.
 * Once the new mount is beneath, it cannot be removed again, so every step that can be tried before is tried first.
 *
 * 1. Sets the propagation.
 * 2. Calls umount2(2) with an empty path, which the kernel refuses with ENOENT and a seccomp filter with another error.
 * 3. Attaches the new mount beneath the old one.
 * 4. Unmounts the old one, before the new one is made private: as a peer in other mount namespaces, it unmounts the old one there.
 * 5. Sets the propagation again, because attaching may have changed it.
 */
NO_STACK_PROTECTOR static int replace(struct mntns_child *child, int target)
{
	const struct attach_request *request = child->request;
	long error = set_propagation(request);

	if (error < 0) return note(child, error, "propagation");
	error = raw_syscall3(SYS_umount2, (long)"", MNT_DETACH, 0);
	if (error != -ENOENT) return note(child, error < 0 ? error : -EIO, "umount");
	child->replacing = "umount old";
	error = call_move_mount(request->tree, target, USERNS_MOVE_MOUNT_BENEATH);
	if (error < 0) {
		child->replacing = NULL;
		return note(child, error, "beneath");
	}
	error = unmount_steps(child->procfs, target, 0);
	if (error < 0) return note(child, error, "umount old");
	child->replacing = "propagation beneath";
	return note(child, set_propagation(request), "propagation beneath");
}

/* From move_mount(2) on, the mount is visible; every failure unmounts it again, or reports that this failed. */
NO_STACK_PROTECTOR static int attach(struct mntns_child *child, int target)
{
	const struct attach_request *request = child->request;
	long error = request->replace ? is_mount_root(target) : 0;

	if (error < 0) return note(child, error, "statx");
	if (error > 0) return replace(child, target);
	error = call_move_mount(request->tree, target, 0);
	if (error < 0) return note(child, error, "move_mount");
	/* Below a shared parent, attaching makes a mount shared (attach_recursive_mnt() in fs/namespace.c). */
	error = set_attached_propagation(child);
	if (error == 0) return note(child, 0, NULL);
	child->left = unmount_steps(child->procfs, request->tree, request->unique) < 0;
	return note(child, error, child->left ? "propagation left" : "propagation");
}

NO_STACK_PROTECTOR void attach_steps(struct mntns_child *child)
{
	const struct attach_request *request = child->request;
	long error = check_identity(request->tree, request->unique); /* move_mount(2) would move another program's mount */

	if (error < 0) {
		note(child, error, "identity");
		return;
	}
	int target = location_open(&request->target); /* closed with the child's descriptor table */
	if (target < 0) note(child, target, "target");
	else attach(child, target);
}

NO_STACK_PROTECTOR void join_peers_steps(struct mntns_child *child)
{
	const struct attach_request *request = child->request;
	long error = call_move_mount(request->target.fd, request->tree, USERNS_MOVE_MOUNT_SET_GROUP);

	/* EINVAL: the other mount is private, so it has neither peers nor a master (do_set_group() in fs/namespace.c). */
	if (error == 0 || error == -EINVAL) error = set_propagation(request);
	note(child, error, "peers");
}
