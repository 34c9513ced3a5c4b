import { native } from "../native/addon.ts";
import { type HeldTarget, holdTarget } from "./attach.ts";
import { closeBranches } from "./branches.ts";
import { createTree } from "./detached-tree.ts";
import { adoptMount, attachFresh, type IdmappedMount } from "./idmapped-mount.ts";
import { checkMountOptions, type MountIdmappedOptions, type MountRequest } from "./mount-options.ts";

/**
 * Mounts `source` at `target` with a map, so that files have other owners. Nothing is changed on disk. A detached copy of the
 * source's mount is mapped and then attached; if a step fails, nothing is mounted.
 *
 * Needs CAP_SYS_ADMIN in the user namespace that owns the file system, Linux 5.12 and a file system that can be mapped. Throws
 * `ERR_USERNS_INVALID_ARGUMENT` or `ERR_USERNS_INVALID_MAPPING` before any system call. `ERR_USERNS_MOUNT` has the step that
 * failed, and for a tree the mount that could not be mapped. If the target's mount is shared, its peers receive the new
 * mount, but not the mounts that are attached on it later.
 * @see mount_setattr(2), "ID-mapped mounts"; open_tree(2); move_mount(2)
 */
export async function mountIdmapped(given: MountIdmappedOptions): Promise<IdmappedMount> {
	const { mount, acknowledge } = await mountUnacknowledged(checkMountOptions(given));
	acknowledge();
	return mount;
}

/** A mount, and the function that acknowledges it, which is called when nothing but the return is left (`attachFresh`). */
interface UnacknowledgedMount {
	mount: IdmappedMount;
	acknowledge: () => void;
}

async function mountUnacknowledged(request: MountRequest): Promise<UnacknowledgedMount> {
	const { target, recursive, attach } = request;
	if (target === undefined || !recursive) return mountRequested(request, undefined);
	const held = await holdTarget(target, attach);
	try {
		return await mountRequested({ ...request, separate: held?.isShared ?? false }, held);
	} finally {
		held?.close();
	}
}

async function mountRequested(
	request: MountRequest,
	held: HeldTarget | undefined,
): Promise<UnacknowledgedMount> {
	const { recursive, propagation, source, target, attach } = request;
	const { descriptor, mountId, uniqueId, map, visible, skipped, branches, attached } =
		await createTree(request);
	const created = { descriptor, mountId, uniqueId, recursive, propagation, source, words: undefined };
	const mount = adoptMount(
		{ ...created, mapping: map?.id ?? "" },
		visible,
		skipped,
		attached ? target : undefined,
	);
	if (attached) return { mount, acknowledge: () => native().acknowledge(mount.fd) };
	if (target === undefined) return { mount, acknowledge: () => {} };
	try {
		return { mount, acknowledge: await attachFresh(mount, target, attach, { held, below: branches }) };
	} catch (error) {
		mount.close();
		throw error;
	} finally {
		closeBranches(branches, false);
	}
}
