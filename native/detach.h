/* A mount unmounted that has nothing mounted on it. */
#ifndef USERNS_DETACH_H
#define USERNS_DETACH_H

#include <stdint.h>

struct waiter;

/*
 * mount_detach() in this mount namespace after a look by listmount(2), Linux 6.8, which goes by the unique mount ID. 0, also
 * when the mount is not in this mount namespace any more; EBUSY when something is mounted on it or below it, or another
 * negative errno, with nothing changed; 1 when something was mounted on it at that very moment, which then is what was
 * unmounted.
 */
int mount_detach_alone(int fd, uint64_t unique, struct waiter *waiter);

#endif
