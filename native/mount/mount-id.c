#include "mount/mount-id.h"
#include "kernel/kernel-abi.h"
#include "proc/nsfs.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int mount_unique_id(int fd, uint64_t *unique)
{
	struct statx answer;

	/* Asked for alone: it takes the place of the other one. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, USERNS_STATX_MNT_ID_UNIQUE, &answer) < 0) return -errno;
	*unique = (answer.stx_mask & USERNS_STATX_MNT_ID_UNIQUE) != 0 ? answer.stx_mnt_id : 0;
	return 0;
}

int mount_ids(int fd, struct mount_ids *ids)
{
	struct statx answer;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, USERNS_STATX_MNT_ID, &answer) < 0) return -errno;
	if ((answer.stx_mask & USERNS_STATX_MNT_ID) == 0) return -ENOSYS;                       /* before Linux 5.8 */
	if ((answer.stx_attributes_mask & USERNS_STATX_ATTR_MOUNT_ROOT) == 0) return -ENOSYS; /* likewise */
	ids->id = answer.stx_mnt_id;
	ids->root = (answer.stx_attributes & USERNS_STATX_ATTR_MOUNT_ROOT) != 0;
	return mount_unique_id(fd, &ids->unique);
}

int mount_namespace_of(int pidfd)
{
	/* Linux 6.11: exact whatever /proc shows, and needs no name. */
	int fd = ioctl(pidfd, USERNS_PIDFD_GET_MNT_NAMESPACE, 0);
	int process;
	int error;

	if (fd >= 0) return fd;
	/* These are the kernel's answer; the others, that it has no such request. */
	if (errno == EACCES || errno == EPERM || errno == EMFILE || errno == ENFILE) return -errno;
	process = procfs_open_process(pidfd, 0);
	if (process < 0) return process;
	fd = openat(process, "ns/mnt", O_RDONLY | O_CLOEXEC);
	error = fd < 0 ? -errno : nsfs_check(fd, CLONE_NEWNS);
	close(process);
	if (error >= 0) return fd;
	if (fd >= 0) close(fd);
	return error;
}

int mount_root_of(int pidfd)
{
	int process = procfs_open_process(pidfd, 0);
	int fd;

	if (process < 0) return process;
	fd = openat(process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) fd = -errno;
	close(process);
	return fd;
}

int mount_table_of_process(int pidfd)
{
	int process = procfs_open_process(pidfd, 0);
	int fd;

	if (process < 0) return process;
	fd = procfs_open_file(process, "mountinfo");
	close(process);
	return fd;
}

int mount_namespace_id(int fd, uint64_t *id)
{
	int error = nsfs_check(fd, CLONE_NEWNS);

	if (error < 0) return error;
	return ioctl(fd, USERNS_NS_GET_MNTNS_ID, id) < 0 ? -errno : 0;
}
