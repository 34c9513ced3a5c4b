#include "mount/detach.h"
#include "mount/mntns-child.h"
#include "mount/mount-id.h"

int mount_detach_alone(int fd, uint64_t unique, struct waiter *waiter)
{
	uint64_t here = 0;
	uint64_t on;
	long error = mount_unique_id(fd, &here);

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
