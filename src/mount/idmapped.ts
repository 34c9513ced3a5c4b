import { Mapping } from "../mapping/mapping.ts";
import { adoptMount, attachFresh, type IdmappedMount } from "./idmapped-mount.ts";
import { rememberMap } from "./known.ts";
import { makeTree } from "./make.ts";
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
	const attributes = checkMountOptions(options);
	const attaching = { ...options }; // what was checked, whatever the caller does to his options meanwhile
	const { source, target, mapping, userns, handles } = options;
	const made = await makeTree({
		...attributes,
		source,
		resolve: resolveFlags("mountIdmapped", options.resolve),
		target: target === undefined ? "" : showPlace(target),
		...(mapping !== undefined && { mapping }),
		...(userns !== undefined && { userns }),
		...(handles !== undefined && { handles }),
		unmap: options.unmap ?? false,
		skipUnsupported: options.skipUnsupported ?? false,
	});
	const shown = made.mapping ?? Mapping.from(AS_ON_DISK);
	const mount = adoptMount(
		{
			descriptor: made.descriptor,
			mountId: made.mountId,
			recursive: attributes.recursive,
			propagation: attributes.propagation,
			source: showPlace(source),
			mapping: made.mapping?.id ?? "",
		},
		shown,
		made.skipped,
		rememberMap(made.descriptor.fd, shown),
	);
	if (target === undefined) return mount;
	try {
		await attachFresh(mount, target, attaching);
		return mount;
	} catch (error) {
		mount.close();
		throw error;
	}
}
