#include "mount/pin.h"
#include "mount/mntns-child.h"
#include "mount/mount-syscalls.h"
#include "proc/nsfs.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

int namespace_pin(int ns, int file, struct waiter *waiter, struct outcome *out)
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
	int copy;

	if (tree < 0) {
		outcome_fail(out, tree, "open_tree");
		return -1;
	}
	copy = fcntl(tree, F_DUPFD_CLOEXEC, 3);
	if (copy < 0) outcome_fail(out, -errno, "duplicate");
	else mount_attach(&request, out);
	if (out->error == 0) {
		out->fd = copy;
		return tree;
	}
	if (copy >= 0) close(copy);
	close(tree);
	return -1;
}
