import { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/addon.ts";
import { type HeldTarget, holdTarget } from "./attach.ts";
import { type AttachOptions, resolveFlags } from "./attach-options.ts";
import { closeBranches } from "./branches.ts";
import { createTree } from "./detached-tree.ts";
import { adoptMount, attachFresh, IdmappedMount } from "./idmapped-mount.ts";
import { checkMountOptions, copyMountOptions, type MountIdmappedOptions } from "./mount-options.ts";
import type { MountRequest } from "./mount-request.ts";

/**
 * Shows `source` at `target` under other owners, without a change on disk. A copy of the source's mount is mapped and
 * given its attributes while nobody sees it, and only then attached; when a step fails, nothing is left.
 *
 * Needs CAP_SYS_ADMIN in the user namespace that owns the file system, Linux 5.12 and a file system that can be
 * mapped. Throws `ERR_USERNS_INVALID_ARGUMENT` or `ERR_USERNS_INVALID_MAPPING` before any system call, and
 * `ERR_USERNS_MOUNT` with the step that failed, and for a tree with the mount that refused. Under a shared parent mount,
 * mounts that are its peers receive the new mount; what is mounted on it afterwards stays here.
 * @see mount_setattr(2), "ID-mapped mounts"; open_tree(2); move_mount(2)
 */
export async function mountIdmapped(given: MountIdmappedOptions): Promise<IdmappedMount> {
	const options = copyMountOptions(given);
	const { recursive, recursiveIdmap, nested, set, clear, propagation } = checkMountOptions(options);
	const { source, target, mapping, userns, handles } = options;
	const resolve = resolveFlags("mountIdmapped", options.resolve);
	const request: MountRequest = {
		recursive,
		recursiveIdmap,
		nested,
		set,
		clear,
		propagation,
		source,
		resolve,
		target,
		mapping: mapping === undefined ? undefined : Mapping.from(mapping),
		userns,
		handles,
		unmap: options.unmap ?? false,
		skipUnsupported: options.skipUnsupported ?? false,
		plain: target !== undefined && isPlain(options),
		separate: false,
	};
	if (target === undefined || !recursive) return mountWanted(request, options, undefined);
	const held = await holdTarget(target, options);
	try {
		return await mountWanted({ ...request, separate: held?.isShared ?? false }, options, held);
	} finally {
		held?.close();
	}
}

async function mountWanted(
	request: MountRequest,
	options: AttachOptions,
	held: HeldTarget | undefined,
): Promise<IdmappedMount> {
	const { recursive, propagation, source, target } = request;
	const tree = await createTree(request);
	if (tree instanceof IdmappedMount) {
		native().told(tree.fd);
		return tree;
	}
	const { descriptor, mountId, uniqueId } = tree;
	const mount = adoptMount(
		{
			descriptor,
			mountId,
			uniqueId,
			recursive,
			propagation,
			source,
			words: undefined,
			mapping: tree.mapping?.id ?? "",
		},
		tree.shows,
		tree.skipped,
		undefined,
	);
	if (target === undefined) return mount;
	try {
		const acknowledge = await attachFresh(mount, target, options, { held, below: tree.branches });
		acknowledge();
		return mount;
	} catch (error) {
		mount.close();
		throw error;
	} finally {
		closeBranches(tree.branches, false);
	}
}

/** One mount, at a target in this mount namespace that is found as every path is. */
function isPlain({ recursive, targetRoot, into, replace }: MountIdmappedOptions): boolean {
	return !recursive && targetRoot === undefined && into === undefined && !replace;
}
