/* The owner and mode of a new upper layer. These functions run in a child, because a layer's file system may never answer. */
#ifndef USERNS_UPPER_LAYER_H
#define USERNS_UPPER_LAYER_H

#include <stdint.h>

/*
 * Returns 1 if the directory is empty and the kernel has not marked it as the upper layer of an overlay, otherwise 0, or a negative
 * errno. Linux 6.6 and later mark it when they make an overlay (ovl_init_uuid_xattr() in fs/overlayfs/util.c).
 */
long upper_layer_is_new(int fd);

/*
 * Gives the root directory of an overlay the visible owner and mode of a lower layer. The kernel changes the upper layer, in which
 * the overlay stores its root directory. Changes nothing if the owner is not mapped: `unmapped` has the uid and the gid that stat(2)
 * shows then. Returns 0 or a negative errno.
 */
long upper_layer_prepare(int overlay, int lower, const uint32_t unmapped[2]);

#endif
