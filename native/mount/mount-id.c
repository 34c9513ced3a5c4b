#include "mount/mount-id.h"
#include "kernel/auto-close.h"
#include "kernel/portable.h"
#include "kernel/statx.h"
#include "mount/mount-syscalls.h"
#include "proc/nsfs.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include <errno.h>

int mount_ids(int fd, struct mount_ids *ids)
{
	struct statx answer;

	if (portable_statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, USERNS_STATX_MNT_ID, &answer) < 0) return -errno;
	if ((answer.stx_mask & USERNS_STATX_MNT_ID) == 0) return -ENOSYS; /* before Linux 5.8, as below */
	if ((answer.stx_attributes_mask & USERNS_STATX_ATTR_MOUNT_ROOT) == 0) return -ENOSYS;
	ids->id = answer.stx_mnt_id;
	ids->root = (answer.stx_attributes & USERNS_STATX_ATTR_MOUNT_ROOT) != 0;
	return statx_unique_id(fd, &ids->unique); /* a second call, because both IDs have the same field */
}

int file_owner(int fd, uint64_t numbers[3])
{
	const unsigned int wanted = STATX_UID | STATX_GID | STATX_MODE;
	struct statx answer;

	/* The kernel fills in these fields whatever is requested, and a request makes FUSE ask a server that withdrew its attributes. */
	if (portable_statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &answer) < 0) return -errno;
	if ((answer.stx_mask & wanted) != wanted) return -ENODATA;
	numbers[0] = answer.stx_uid;
	numbers[1] = answer.stx_gid;
	numbers[2] = answer.stx_mode;
	return 0;
}

int mount_note_ids(int fd, struct outcome *out)
{
	struct mount_ids ids;
	int error = mount_ids(fd, &ids);

	if (error < 0) return outcome_fail(out, error, "statx");
	out->mount_id = ids.id;
	out->unique = ids.unique;
	return 0;
}

int mount_root_of(int pidfd)
{
	AUTO_CLOSE int process = procfs_open_process(pidfd, 0);
	int fd = process < 0 ? -1 : openat(process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (process < 0) return process;
	return fd < 0 ? -errno : fd;
}

int mount_table_of_process(int pidfd)
{
	AUTO_CLOSE int process = procfs_open_process(pidfd, 0);

	return process < 0 ? process : procfs_open_below(process, "mountinfo", O_RDONLY);
}

int mount_namespace_id(int fd, uint64_t *id)
{
	int error = nsfs_check(fd, CLONE_NEWNS);

	if (error < 0) return error;
	return ioctl(fd, USERNS_NS_GET_MNTNS_ID, id) < 0 ? -errno : 0;
}

int mount_namespace_around(int fd)
{
	return call_open_tree(fd, "", USERNS_OPEN_TREE_NAMESPACE);
}
