import { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/addon.ts";
import { type HeldTarget, holdTarget } from "./attach.ts";
import { type AttachOptions, resolveFlags } from "./attach-options.ts";
import { closeBranches } from "./branches.ts";
import { makeTree } from "./detached-tree.ts";
import { adoptMount, attachFresh, IdmappedMount } from "./idmapped-mount.ts";
import { checkMountOptions, copyMountOptions, type MountIdmappedOptions } from "./mount-options.ts";
import type { Wanted } from "./wanted.ts";

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
	const wanted: Wanted = {
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
		apart: false,
	};
	if (target === undefined || !recursive) return mountWanted(wanted, options, undefined);
	const held = await holdTarget(target, options);
	try {
		return await mountWanted({ ...wanted, apart: held?.isShared ?? false }, options, held);
	} finally {
		held?.close();
	}
}

async function mountWanted(
	wanted: Wanted,
	options: AttachOptions,
	held: HeldTarget | undefined,
): Promise<IdmappedMount> {
	const { recursive, propagation, source, target } = wanted;
	const made = await makeTree(wanted);
	if (made instanceof IdmappedMount) {
		native().told(made.fd);
		return made;
	}
	const { descriptor, mountId, uniqueId } = made;
	const mount = adoptMount(
		{
			descriptor,
			mountId,
			uniqueId,
			recursive,
			propagation,
			source,
			words: undefined,
			mapping: made.mapping?.id ?? "",
		},
		made.shows,
		made.skipped,
		undefined,
	);
	if (target === undefined) return mount;
	try {
		const told = await attachFresh(mount, target, options, { held, below: made.branches });
		told();
		return mount;
	} catch (error) {
		mount.close();
		throw error;
	} finally {
		closeBranches(made.branches, false);
	}
}

/** One mount, at a target in this mount namespace that is found as every path is. */
function isPlain({ recursive, targetRoot, into, replace }: MountIdmappedOptions): boolean {
	return !recursive && targetRoot === undefined && into === undefined && !replace;
}
