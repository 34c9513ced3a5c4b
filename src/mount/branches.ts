import { native, type Outcome } from "../native/addon.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { RESOLVE } from "./attach-options.ts";
import { PROPAGATION } from "./attributes.ts";
import { mountError } from "./mount-errors.ts";

/*
 * A tree under a shared parent is attached mount by mount. The peers of that parent receive a copy of each mount that
 * is attached there, and an unmount is propagated only to a copy without submounts (propagate_umount() in fs/pnode.c).
 * The root is made private before the mounts below it are attached, so that no peer receives those.
 */

/** A detached mount of a tree that is attached mount by mount. */
export interface Branch {
	/** The path from the root; "" is the root itself. */
	path: string;
	descriptor: Descriptor;
	uniqueId: number;
	/** A copy of the source's mount, of which this mount becomes a peer for `propagation: "shared"`. */
	peer: Descriptor | undefined;
}

/** A detached mount, with the mounts below it. */
export interface Tree {
	fd: number;
	mountId: number;
	/** 0 before Linux 6.8. */
	uniqueId: number;
	recursive: boolean;
	/** MS_…. */
	propagation: number;
	/** The mapping, for errors. */
	mapping: string;
	/** True if no other code has had the descriptor, so that the tree cannot be attached yet. */
	fresh: boolean;
	/** The mounts that are attached below the root one by one; empty if the tree is attached as a whole. */
	below: readonly Branch[];
}

/** Closes all but the root, which belongs to the IdmappedMount once there is one. */
export function closeBranches(branches: readonly Branch[], withRoot: boolean): void {
	for (const { path, descriptor, peer } of branches) {
		if (withRoot || path !== "") descriptor.close();
		peer?.close();
	}
}

/** Leaves the root private, because a root that is a peer of its source would propagate the mounts below it there. */
export function rootPropagation({ propagation }: Pick<Tree, "propagation">): number {
	return propagation === PROPAGATION.shared ? PROPAGATION.private : propagation;
}

/** No symbolic link leads from the root to a mount below it. */
const BELOW = RESOLVE.inRoot | RESOLVE.noSymlinks | RESOLVE.noMagicLinks;

/**
 * Attaches the mounts below an attached root. After a failure the root is unmounted again with all of them, except that
 * a root which has replaced another mount stays.
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
		);
		if (outcome.error === 0) native().acknowledge(descriptor.fd); // because the root's descriptor unmounts the whole tree
		if (outcome.error < 0) await undo(tree, mountNs, replaced, tried, outcome);
	}
	for (const { path, descriptor, peer } of tree.below) {
		if (peer === undefined) continue;
		const fd = path === "" ? tree.fd : descriptor.fd;
		const outcome = await native().joinPeers(peer.fd, fd, mountNs);
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
		throw mountError(`${tried}, after the new mount has replaced the old one`, tree.mapping, outcome);
	}
	const undone = await native().detach(tree.fd, tree.uniqueId, mountNs, false, true);
	throw mountError(tried, tree.mapping, undone.error < 0 ? { ...undone, step: "left" } : outcome);
}
