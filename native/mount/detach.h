/* Unmounts a mount only if nothing is mounted on it. */
#ifndef USERNS_DETACH_H
#define USERNS_DETACH_H

#include <stdint.h>

struct waiter;

/*
 * mount_detach() in this mount namespace after a check by listmount(2), Linux 6.8, which takes the unique mount ID. Returns
 * 0, also when the mount is not in this mount namespace any more; EBUSY if something is mounted on it or below it, or another
 * negative errno, with nothing changed; 1 if a mount was put on it between the check and the call, and was unmounted instead.
 */
int mount_detach_alone(int fd, uint64_t unique, struct waiter *waiter);

#endif
