#include "proc/dry-call.h"
#include "kernel/kernel-abi.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * Every call has an argument that the kernel checks first and that no kernel accepts, so it has no effect. A filter runs before
 * the call. The first argument of clone(2) and unshare(2) contains CLONE_NEWUSER, because filters look at that bit.
 */
#define NO_FLAGS 0x40000000L
#define ONE_BYTE 1L
#define REFUSED 0 /* EPERM and EACCES are the answer of something else, and any other error is the kernel's */

static const struct {
	long number;
	long arguments[5];
	int error; /* of the kernel's check */
} calls[] = {
	/* CLONE_NEWUSER with CLONE_FS, and CLONE_SIGHAND without CLONE_VM */
	{SYS_clone, {CLONE_NEWUSER | CLONE_FS | CLONE_SIGHAND}, EINVAL},
	{SYS_clone3, {0, ONE_BYTE}, EINVAL}, /* a structure of one byte */
	{SYS_unshare, {CLONE_NEWUSER | 1}, EINVAL},
	{SYS_setns, {-1}, EBADF},
	{SYS_open_tree, {-1, 0, NO_FLAGS}, EINVAL},
	{SYS_mount_setattr, {-1, 0, 0, 0, 0}, EINVAL}, /* a structure of no bytes */
	{SYS_open_tree_attr, {-1, 0, NO_FLAGS, 0, ONE_BYTE}, EINVAL},
	{SYS_openat2, {-1, 0, 0, ONE_BYTE}, EINVAL},
	{SYS_umount2, {0, NO_FLAGS}, EINVAL},
	{SYS_memfd_create, {0, NO_FLAGS}, EINVAL},
	{SYS_execveat, {-1}, EFAULT}, /* no path */
	/* Needs CAP_SYS_ADMIN over the mount namespace. */
	{SYS_move_mount, {-1, 0, -1, 0, NO_FLAGS}, EINVAL},
	/*
	 * "mount": a mount cannot be moved into itself (EINVAL or ELOOP), which the kernel checks after it has asked the security modules.
	 * mount(2) tells nothing about move_mount(2): AppArmor of Linux 6.1 only checks the former.
	 */
	{SYS_move_mount, {AT_FDCWD, (long)"/", AT_FDCWD, (long)"/", 0}, REFUSED},
};

int dry_call(uint32_t index)
{
	if (index >= sizeof calls / sizeof *calls) return -ERANGE;
	const long *with = calls[index].arguments;
	long result = syscall(calls[index].number, with[0], with[1], with[2], with[3], with[4]);
	if (calls[index].error == REFUSED) return result < 0 && (errno == EPERM || errno == EACCES);
	return result >= 0 || errno != calls[index].error;
}
