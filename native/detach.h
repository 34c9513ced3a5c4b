/* Mounts taken off, in this mount namespace. */
#ifndef USERNS_DETACH_H
#define USERNS_DETACH_H

#include <stdint.h>

/*
 * Takes the mount off whose root the descriptor is, with all that is mounted below it. umount2(2) goes down to what is
 * mounted on top of it, so the caller looks first that nothing is. 0 or a negative errno.
 */
int mount_detach(int fd);

/*
 * The same with that look, of listmount(2), Linux 6.8, which goes by the mount's unique number. 0, also when the mount is not in this mount namespace any more; EBUSY
 * when something is mounted on it or below it, or another negative errno, with nothing changed; 1 when something was
 * mounted on it at that very moment, which then is what was taken off.
 */
int mount_detach_alone(int fd, uint64_t unique);

#endif
