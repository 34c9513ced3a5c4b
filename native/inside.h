/*
 * What a child of ours does in another mount namespace. It keeps our own user namespace, so those who live in the other one
 * cannot trace it, and has a descriptor table of its own. A path in a container may lead through a file system that is
 * served from inside it and never answers: the wait for the child is bounded (errand.h).
 */
#ifndef USERNS_INSIDE_H
#define USERNS_INSIDE_H

#include "attach-steps.h"

/* mount_attach() in `mount_ns`. */
void inside_attach(const struct attach_request *request, struct outcome *out);

/* As mount_detach() in the mount namespace that it is in, by a child that asks no /proc; −1: one's own. */
int mount_detach_in(int mount_ns, int fd);

/* Opens the mountinfo of a mount namespace, as seen from its root. A descriptor or a negative errno. */
int mount_table_of(int mount_ns);

/*
 * Opens a path in a mount namespace, below a directory in it (−1: its root) that nothing leads out of. An O_PATH
 * descriptor or a negative errno; ETIMEDOUT when a file system on the way does not answer.
 */
int mount_open_in(int mount_ns, int root, const char *path);

#endif
