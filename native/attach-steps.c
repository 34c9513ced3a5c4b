#include "attach-steps.h"
#include "signals.h"
#include <sys/mount.h>
#include <sys/stat.h>

/*
 * The steps are raw system calls, since they are made in two ways: on a thread of ours, and in a child that shares our
 * memory and has joined another mount namespace (inside.c).
 */

NO_STACK_PROTECTOR int attach_fail(struct attaching *at, long error, const char *step)
{
	at->error = (int)error;
	at->step = step;
	return (int)error;
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

	if (error < 0) return attach_fail(at, error, "propagation");
	error = raw_syscall3(SYS_umount2, (long)"", MNT_DETACH, 0);
	if (error != -ENOENT) return attach_fail(at, error < 0 ? error : -EIO, "umount");
	error = call_move_mount(request->tree, target, USERNS_MOVE_MOUNT_BENEATH);
	if (error < 0) return attach_fail(at, error, "beneath");
	/* Before it is made private: as a peer of what others received, it takes the old mount off there too. */
	error = at->take_off(target);
	if (error < 0) return attach_fail(at, error, "umount old");
	error = make_propagate(request);
	if (error < 0) return attach_fail(at, error, "propagation beneath");
	at->error = 0;
	return 0;
}

/* From the attach on the mount is to be seen; every failure takes it off again. */
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
		at->take_off(request->tree);
		return attach_fail(at, error, "propagation");
	}
	at->error = 0;
	return 0;
}

NO_STACK_PROTECTOR int attach_steps(struct attaching *at)
{
	const struct place *place = &at->request->target;
	int target = place_open(place);
	kernel_sigset before;

	if (target < 0) return attach_fail(at, target, "target");
	/*
	 * libc's own too, by which setuid(2) on another thread changes the IDs of this one: a mount that is attached already
	 * could then neither be finished nor taken off. A child keeps its IDs.
	 */
	if (!at->inside) signals_block(&before);
	put_on(at, target);
	if (!at->inside) signals_set(&before, NULL);
	/* A child's table is its own and ends with it. */
	if (!at->inside) place_close(place, target);
	return at->error;
}
