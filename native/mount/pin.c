#include "mount/pin.h"
#include "kernel/auto-close.h"
#include "mount/mntns-child.h"
#include "proc/nsfs.h"
#include <sys/mount.h>

void namespace_pin(int ns, int file, struct waiter *waiter, struct outcome *out)
{
	/* Only a user namespace: open_tree(2) would accept the descriptor of a directory too. */
	int error = nsfs_check(ns, CLONE_NEWUSER);
	AUTO_CLOSE int tree = error < 0 ? error : call_open_tree(ns, "", USERNS_OPEN_TREE_CLONE);
	const struct attach_request request = {
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
	if (mount_attach(&request, out) == 0) out->fd = take_fd(&tree);
}
