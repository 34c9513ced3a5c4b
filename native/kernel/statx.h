/* The unique mount ID of statx(2), without the C library, because a child that shares our memory calls it too. */
#ifndef USERNS_STATX_H
#define USERNS_STATX_H

#include "kernel/raw-syscall.h"
#include <sys/stat.h>

/* Stores the unique ID of the mount that the descriptor is on, or 0 before Linux 6.8. Returns 0 or a negative errno. */
NO_STACK_PROTECTOR static inline int statx_unique_id(int fd, uint64_t *unique)
{
	struct statx answer;
	long error = raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, USERNS_STATX_MNT_ID_UNIQUE,
				  (long)&answer);

	if (error < 0) return (int)error;
	*unique = (answer.stx_mask & USERNS_STATX_MNT_ID_UNIQUE) != 0 ? answer.stx_mnt_id : 0;
	return 0;
}

#endif
