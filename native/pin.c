#include "pin.h"
#include "inside.h"
#include "mount-calls.h"
#include <sys/mount.h>
#include <unistd.h>

void namespace_pin(int ns, int file, struct waiter *waiter, struct outcome *out)
{
	int tree = call_open_tree(ns, "", USERNS_OPEN_TREE_CLONE);
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
	close(tree);
}
