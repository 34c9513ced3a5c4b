import { UserNamespace } from "../namespace/user-namespace.ts";
import { native } from "../native/addon.ts";
import { type HeldTarget, holdTarget } from "./attach.ts";
import { closeBranches } from "./branches.ts";
import { adoptMount, attachFresh, type IdmappedMount } from "./idmapped-mount.ts";
import {
	closeOpened,
	createResolved,
	type Opened,
	type Resolved,
	resolveIntent,
	warnOfContainer,
} from "./intent.ts";
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

async function mountUnacknowledged(given: MountRequest): Promise<UnacknowledgedMount> {
	// Before the first await, because the caller may close its own after the call.
	const userns = given.userns instanceof UserNamespace ? given.userns.dup() : given.userns;
	const opened: Opened = { into: undefined, from: undefined, source: undefined };
	let held: HeldTarget | undefined;
	try {
		const resolved = await resolveIntent({ ...given, userns }, opened);
		const { target, recursive, attach } = given;
		if (target !== undefined && recursive)
			held = await holdTarget(target, attach, opened.into?.mountNamespace);
		resolved.request.separate = held?.isShared ?? false;
		return await mountResolved(resolved, held, opened);
	} finally {
		held?.close();
		closeOpened(opened);
		if (userns instanceof UserNamespace) userns.close();
	}
}

async function mountResolved(
	resolved: Resolved,
	held: HeldTarget | undefined,
	opened: Opened,
): Promise<UnacknowledgedMount> {
	const { recursive, propagation, source, shown, target, attach } = resolved.request;
	const { tree, warnings: warned } = await createResolved(resolved, opened.from);
	const { descriptor, mountId, uniqueId, map, visible, skipped, branches, attached, itself } = tree;
	const created = { descriptor, mountId, uniqueId, recursive, propagation, source, words: shown };
	const warnings = map === undefined ? warned : [...warned, ...(await warnOfContainer(map, opened.into))];
	const mount = adoptMount(
		{ ...created, mapping: map?.id ?? "" },
		{ mapping: visible, skipped, warnings },
		attached ? target : undefined,
	);
	if (attached) return { mount, acknowledge: () => native().acknowledge(mount.fd) };
	if (target === undefined) return { mount, acknowledge: () => {} };
	const more = { held, mountNamespace: opened.into?.mountNamespace, below: branches, fresh: !itself };
	try {
		return { mount, acknowledge: await attachFresh(mount, target, attach, more) };
	} catch (error) {
		mount.close();
		throw error;
	} finally {
		closeBranches(branches, false);
	}
}
