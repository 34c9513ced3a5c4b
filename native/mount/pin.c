#include "mount/pin.h"
#include "kernel/auto-close.h"
#include "mount/mntns-child.h"
#include "proc/nsfs.h"
#include <sys/mount.h>

int namespace_pin(int ns, int file, struct waiter *waiter, struct outcome *out)
{
	/* Only a user namespace: open_tree(2) would accept the descriptor of a directory too. */
	int error = nsfs_check(ns, CLONE_NEWUSER);
	AUTO_CLOSE int tree = error < 0 ? error : call_open_tree(ns, "", USERNS_OPEN_TREE_CLONE);
	AUTO_CLOSE int copy = tree < 0 ? -1 : fcntl(tree, F_DUPFD_CLOEXEC, 3);
	const struct attach_request request = {
		.tree = tree,
		.target = {.fd = file},
		.propagation = MS_PRIVATE,
		.mount_ns = -1,
		.waiter = waiter,
	};

	if (tree < 0) outcome_fail(out, tree, "open_tree");
	else if (copy < 0) outcome_fail(out, -errno, "duplicate");
	else mount_attach(&request, out);
	if (out->error < 0) return -1;
	out->fd = take_fd(&copy);
	return take_fd(&tree);
}
