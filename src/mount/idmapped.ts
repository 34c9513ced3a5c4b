import { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/load.ts";
import { adoptMount, attachFresh, type IdmappedMount } from "./idmapped-mount.ts";
import { rememberMap } from "./known.ts";
import { makeAtOnce, makeTree, type Wanted } from "./make.ts";
import { checkMountOptions, type MountIdmappedOptions } from "./options.ts";
import { resolveFlags, showPlace } from "./target.ts";

/** A mount without a map: every ID that there is. */
const AS_ON_DISK = "0:0:4294967295";

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
export async function mountIdmapped(options: MountIdmappedOptions): Promise<IdmappedMount> {
	const { recursive, recursiveIdmap, nested, set, clear, propagation } = checkMountOptions(options);
	const attaching = { ...options }; // what was checked, whatever the caller does to his options meanwhile
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
		at: target !== undefined && isPlain(options) ? { place: target, resolve } : undefined,
	};
	const made = makeAtOnce(wanted) ?? (await makeTree(wanted));
	const shown = made.mapping ?? Mapping.from(AS_ON_DISK);
	const { descriptor, mountId } = made;
	const mount = adoptMount(
		{
			descriptor,
			mountId,
			recursive,
			propagation,
			source: () => showPlace(source),
			mapping: made.mapping?.id ?? "",
		},
		shown,
		made.skipped,
		rememberMap(descriptor, shown),
		made.attached ? target : undefined,
	);
	if (target === undefined) return mount;
	if (made.attached) {
		native().told(descriptor.fd);
		return mount;
	}
	try {
		const told = await attachFresh(mount, target, attaching);
		told();
		return mount;
	} catch (error) {
		mount.close();
		throw error;
	}
}

/** One mount, at a target in this mount namespace that is found as every path is. */
function isPlain({ recursive, targetRoot, into, replace }: MountIdmappedOptions): boolean {
	return !recursive && targetRoot === undefined && into === undefined && !replace;
}
