#include "child/dry-call.h"
#include "child/child.h"
#include "kernel/kernel-abi.h"
#include "kernel/raw-syscall.h"
#include "kernel/time-limits.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <signal.h>
#include <unistd.h>

/*
 * Every call but the last has an argument that the kernel checks first and that no kernel accepts, so it has no effect. A filter
 * runs before the call. The first argument of clone(2) and unshare(2) contains CLONE_NEWUSER, because filters look at that bit.
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
	 * "mount": a mount cannot be moved into itself (EINVAL, ELOOP or ENOENT), which the kernel checks after it has asked the
	 * security modules. mount(2) tells nothing about move_mount(2): AppArmor of Linux 6.1 only checks the former.
	 */
	{SYS_move_mount, {AT_FDCWD, (long)"/", AT_FDCWD, (long)"/", 0}, REFUSED},
};

/* What answered. */
enum { KERNEL, OTHER };

NO_STACK_PROTECTOR static int make(uint32_t index)
{
	const long *with = calls[index].arguments;
	long result = raw_syscall5(calls[index].number, with[0], with[1], with[2], with[3], with[4]);

	if (calls[index].error == REFUSED) return result == -EPERM || result == -EACCES ? OTHER : KERNEL;
	return result == -calls[index].error ? KERNEL : OTHER;
}

struct trial {
	struct child child;
	uint32_t index;
	int is_control; /* it does not make the call */
};

NO_STACK_PROTECTOR static int try_call(void *argument)
{
	const struct trial *trial = argument;

	child_die_with_parent(&trial->child);
	raw_syscall3(SYS_prctl, PR_SET_DUMPABLE, 0, 0); /* so that the end by a filter leaves no core file */
	if (trial->is_control) raw_exit(KERNEL);
	raw_exit(make(trial->index));
	return 0;
}

/* Returns the status of the child, as child_reap(); -ETIMEDOUT if it did not end. */
static int run(struct trial *trial)
{
	int error = child_start_copy(&trial->child, try_call, trial);

	if (error < 0) return error;
	if (child_has_ended(&trial->child, DRY_CALL_TIMEOUT_MS)) return child_reap(&trial->child);
	child_end(&trial->child);
	return -ETIMEDOUT;
}

/* The filter ends the child, or its supervisor does not answer. */
static int is_held(int status)
{
	return status == 256 + SIGSYS || status == -ETIMEDOUT;
}

static int is_refused(int status)
{
	return status == -EPERM || status == -EACCES || status == -ENOSYS;
}

static int try_apart(uint32_t index)
{
	struct trial trial = {.index = index};
	int status = run(&trial);

	if (status == -ETIMEDOUT) status = run(&trial); /* the machine may be busy */
	if (status == KERNEL || status == OTHER) return status == OTHER;
	/* clone(2) without namespaces has no such error. For the other calls nothing is known. */
	if (is_refused(status)) return calls[index].number == SYS_clone ? 1 : status;
	if (!is_held(status)) return status < 0 ? status : -EINTR;
	/* It may have been one of the calls before. */
	trial.is_control = 1;
	return run(&trial) == KERNEL ? 1 : -EINTR;
}

int dry_call(uint32_t index, int is_apart)
{
	if (index >= sizeof calls / sizeof *calls) return -ERANGE;
	return is_apart ? try_apart(index) : make(index);
}
