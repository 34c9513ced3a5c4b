#include "detach.h"
#include "inside.h"
#include "mount-calls.h"
#include "procfs.h"
#include <errno.h>
#include <sys/mount.h>

int mount_detach(int fd)
{
	/* MNT_DETACH, since our own descriptor keeps the mount busy. A lie under the name would take another mount off. */
	char name[PROCFS_NAME];

	/* Where /proc is no good a child does it: what must not stay must not stay for want of a /proc either. */
	if (procfs_own_fd(fd, name) < 0) return mount_detach_in(-1, fd);
	return umount2(name, MNT_DETACH) < 0 ? -errno : 0;
}

int mount_detach_alone(int fd, uint64_t unique)
{
	uint64_t on;
	long error;

	if (unique == 0) return -ENOSYS;
	error = call_listmount(unique, 0, 0, &on, 1);
	if (error == -ENOENT) return 0;
	if (error != 0) return error < 0 ? (int)error : -EBUSY;
	error = mount_detach(fd);
	if (error < 0) return (int)error;
	return call_listmount(unique, 0, 0, &on, 1) >= 0;
}
