#include "proc/procfs-pidns.h"
#include "kernel/kernel-abi.h"
#include "proc/procfs-file.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The mount that was found to be a procfs of our own pid namespace; 0: none yet. None of it can change afterwards: a
 * procfs belongs to one pid namespace, a mount to one file system, a process to one pid namespace (unshare(2) moves its
 * children only), and a unique mount number is never given again, as a device's or an inode's is.
 */
static _Atomic uint64_t own_mount;

/* The unique number of the mount that it is on, or 0: before Linux 6.8. */
static uint64_t unique_mount(int fd)
{
	struct statx answer;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, USERNS_STATX_MNT_ID_UNIQUE, &answer) < 0) return 0;
	return (answer.stx_mask & USERNS_STATX_MNT_ID_UNIQUE) != 0 ? answer.stx_mnt_id : 0;
}

/*
 * 1 when this procfs shows us under one number, our own: NSpid has one for each pid namespace from that of the procfs
 * down to ours (proc_pid_status() in fs/proc/array.c).
 */
static int shows_own_numbers(int root)
{
	char text[8192];
	const char *line;

	if (procfs_read(root, "thread-self/status", text, sizeof text) < 0) return 0;
	line = strstr(text, "\nNSpid:\t");
	if (line == NULL) return 0;
	line += strlen("\nNSpid:\t");
	return line[strcspn(line, "\t\n")] == '\n';
}

int procfs_is_known(int fd)
{
	uint64_t mount = atomic_load_explicit(&own_mount, memory_order_relaxed);

	return mount != 0 && unique_mount(fd) == mount;
}

int procfs_is_own(int root)
{
	uint64_t mount;

	if (procfs_is_known(root)) return 1;
	mount = unique_mount(root);
	if (mount == 0 || !shows_own_numbers(root)) return 0;
	atomic_store_explicit(&own_mount, mount, memory_order_relaxed);
	return 1;
}
