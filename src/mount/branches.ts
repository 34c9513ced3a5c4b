import type { Descriptor } from "../native/descriptor.ts";
import { native, type Outcome } from "../native/load.ts";
import type { Tree } from "./attach.ts";
import { PROPAGATION } from "./attributes.ts";
import { mountError } from "./mount-errors.ts";
import { RESOLVE } from "./target.ts";

/*
 * A tree under a shared parent is attached mount by mount. The peers of that parent receive a copy of what is attached there,
 * and its unmount is propagated only to a copy without submounts (propagate_umount() in fs/pnode.c). The root is made private
 * before the mounts below it are attached, so that no peer receives those.
 */

/** A detached mount of such a tree. */
export interface Branch {
	/** From the root to it; "" is the root itself. */
	path: string;
	descriptor: Descriptor;
	uniqueId: number;
	/** A copy of the source's mount, for `propagation: "shared"`: what it becomes a peer of. */
	peer: Descriptor | undefined;
}

/** The root belongs to the mount's object, once there is one. */
export function closeBranches(branches: readonly Branch[], withRoot: boolean): void {
	for (const { path, descriptor, peer } of branches) {
		if (withRoot || path !== "") descriptor.close();
		peer?.close();
	}
}

/** A root that were a peer of its source already would pass on to it what is mounted below. */
export function rootPropagation({ propagation }: Pick<Tree, "propagation">): number {
	return propagation === PROPAGATION.shared ? PROPAGATION.private : propagation;
}

/** What leads from the root to a mount below it is no link. */
const BELOW = RESOLVE.inRoot | RESOLVE.noSymlinks | RESOLVE.noMagicLinks;

/**
 * Attaches the mounts below a root that is attached. After a failure the root is unmounted again with all of them; where it
 * has taken the place of another mount, it stays.
 */
export async function attachBranches(
	tree: Tree,
	mountNs: number,
	replaced: boolean,
	tried: string,
): Promise<void> {
	const propagation = rootPropagation(tree);
	for (const { path, descriptor, uniqueId } of tree.below) {
		if (path === "") continue;
		const outcome = await native().attach(
			descriptor.fd,
			uniqueId,
			tree.fd,
			path,
			BELOW,
			false,
			false,
			propagation,
			mountNs,
			true,
		);
		if (outcome.fd >= 0) native().close(outcome.fd); // the root's own is what tells of all of them
		if (outcome.error < 0) await undo(tree, mountNs, replaced, tried, outcome);
	}
	for (const { path, descriptor, peer } of tree.below) {
		if (peer === undefined) continue;
		const fd = path === "" ? tree.fd : descriptor.fd;
		const outcome = await native().joinPeers(peer.fd, fd, mountNs, true);
		if (outcome.error < 0) await undo(tree, mountNs, replaced, tried, outcome);
	}
}

async function undo(
	tree: Tree,
	mountNs: number,
	replaced: boolean,
	tried: string,
	outcome: Outcome,
): Promise<never> {
	if (replaced) {
		throw mountError(`${tried}, where the new mount has taken the old one's place`, tree.mapping, outcome);
	}
	const undone = await native().detach(tree.fd, tree.uniqueId, mountNs, false, true);
	throw mountError(tried, tree.mapping, undone.error < 0 ? { ...undone, step: "left" } : outcome);
}
