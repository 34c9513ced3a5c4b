#include "mount/attach-steps.h"
#include <sys/mount.h>
#include <sys/stat.h>

NO_STACK_PROTECTOR int attach_fail(struct attaching *at, long error, const char *step)
{
	at->error = (int)error;
	at->step = step;
	return (int)error;
}

NO_STACK_PROTECTOR static long make_propagate(const struct attach_request *request)
{
	struct userns_mount_attr attributes;

	if (request->propagation == 0) return 0;
	attributes.attr_set = 0;
	attributes.attr_clr = 0;
	attributes.propagation = request->propagation;
	attributes.userns_fd = 0;
	return call_mount_setattr(request->tree, request->recursive, &attributes);
}

/* The path "thread-self/fd/N" below a procfs. */
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

/*
 * Compares the unique mount ID, because a descriptor that other code has closed can be another mount's by now. 0 is not
 * compared.
 */
NO_STACK_PROTECTOR static long check_identity(int fd, uint64_t unique)
{
	struct statx answer;
	long error;

	if (unique == 0) return 0;
	error = raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, USERNS_STATX_MNT_ID_UNIQUE,
			     (long)&answer);
	if (error < 0) return error;
	if ((answer.stx_mask & USERNS_STATX_MNT_ID_UNIQUE) == 0) return 0; /* before Linux 6.8 */
	return answer.stx_mnt_id == unique ? 0 : -ESTALE;
}

/*
 * mount(2) and umount2(2) take a path. The path of the descriptor in our own procfs works for files as well as for
 * directories, and needs no permission on a directory. Without a usable /proc, "." works for a directory.
 */
NO_STACK_PROTECTOR long unmount_steps(int procfs, int fd, uint64_t unique)
{
	char name[32] = ".";
	long error = check_identity(fd, unique);

	if (error < 0) return error;
	error = raw_syscall3(SYS_fchdir, procfs >= 0 ? procfs : fd, 0, 0);
	if (error < 0) return error;
	if (procfs >= 0) name_descriptor(fd, name);
	/*
	 * What cannot be unmounted, such as a locked mount in a container, stays as it is. The kernel looks at that first
	 * (can_umount() in fs/namespace.c); then a mount that somebody holds, as we do by the descriptor, is EBUSY, and another
	 * one on top of it is marked at most, until it is used.
	 */
	error = raw_syscall3(SYS_umount2, (long)name, MNT_EXPIRE, 0);
	if (error < 0 && error != -EBUSY && error != -EAGAIN) return error;
	/*
	 * The unmount of a child propagates to the peers of its parent (propagate_umount() in fs/pnode.c): below a mount that
	 * is a peer of the source it would unmount the source's own submounts. The unmount of the mount itself still propagates
	 * to the peers of its parent. A mount that cannot be made private must not be unmounted.
	 */
	error = raw_syscall5(SYS_mount, 0, (long)name, 0, MS_REC | MS_PRIVATE, 0);
	return error < 0 ? error : raw_syscall3(SYS_umount2, (long)name, MNT_DETACH, 0);
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

	if (error < 0) return attach_fail(at, error, "propagation");
	error = raw_syscall3(SYS_umount2, (long)"", MNT_DETACH, 0);
	if (error != -ENOENT) return attach_fail(at, error < 0 ? error : -EIO, "umount");
	at->exchanging = "umount old";
	error = call_move_mount(request->tree, target, USERNS_MOVE_MOUNT_BENEATH);
	if (error < 0) {
		at->exchanging = NULL;
		return attach_fail(at, error, "beneath");
	}
	/* Before it is made private: as a peer of what others received, it takes the old mount off there too. */
	error = unmount_steps(at->procfs, target, 0);
	if (error < 0) return attach_fail(at, error, "umount old");
	at->exchanging = "propagation beneath";
	error = make_propagate(request);
	if (error < 0) return attach_fail(at, error, "propagation beneath");
	at->error = 0;
	return 0;
}

/* From the attach on, the mount is visible; every failure unmounts it again, or reports that it could not. */
NO_STACK_PROTECTOR static int put_on(struct attaching *at, int target)
{
	const struct attach_request *request = at->request;
	long error = request->replace ? is_mount_root(target) : 0;

	if (error < 0) return attach_fail(at, error, "statx");
	if (error > 0) return exchange(at, target);
	error = call_move_mount(request->tree, target, 0);
	if (error < 0) return attach_fail(at, error, "move_mount");
	/* Under a shared parent attaching makes a mount shared (attach_recursive_mnt in fs/namespace.c). */
	error = make_propagate(request);
	if (error < 0) {
		long undone = unmount_steps(at->procfs, request->tree, request->unique);

		at->left = undone < 0;
		return attach_fail(at, error, undone < 0 ? "propagation left" : "propagation");
	}
	at->error = 0;
	return 0;
}

NO_STACK_PROTECTOR int attach_steps(struct attaching *at)
{
	const struct attach_request *request = at->request;
	long error = check_identity(request->tree, request->unique); /* move_mount(2) would move another program's mount */
	int target;

	if (error < 0) return attach_fail(at, error, "identity");
	target = location_open(&request->target);
	/* The descriptor is closed with the child's table. */
	if (target < 0) return attach_fail(at, target, "target");
	return put_on(at, target);
}

NO_STACK_PROTECTOR int join_peers_steps(struct attaching *at)
{
	const struct attach_request *request = at->request;
	long error = call_move_mount(request->target.fd, request->tree, USERNS_MOVE_MOUNT_SET_GROUP);

	/* EINVAL: the other mount is private, and has neither peers nor a master (do_set_group() in fs/namespace.c). */
	if (error < 0 && error != -EINVAL) return attach_fail(at, error, "peers");
	error = make_propagate(request);
	if (error < 0) return attach_fail(at, error, "peers");
	at->error = 0;
	return 0;
}
