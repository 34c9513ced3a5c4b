#include "mount/pin.h"
#include "mount/mntns-child.h"
#include "mount/mount-syscalls.h"
#include "proc/nsfs.h"
#include <sys/mount.h>
#include <unistd.h>

void namespace_pin(int ns, int file, struct waiter *waiter, struct outcome *out)
{
	/* Nothing but a user namespace: a directory's descriptor would be mounted likewise. */
	int error = nsfs_check(ns, CLONE_NEWUSER);
	int tree = error < 0 ? error : call_open_tree(ns, "", USERNS_OPEN_TREE_CLONE);
	struct attach_request request = {
		.tree = tree,
		.target = {.fd = file},
		.propagation = MS_PRIVATE,
		.mount_ns = -1,
		.waiter = waiter,
	};

	if (tree < 0) {
		outcome_fail(out, tree, "open_tree");
		return;
	}
	mount_attach(&request, out);
	if (out->error < 0) close(tree);
	else out->fd = tree;
}
