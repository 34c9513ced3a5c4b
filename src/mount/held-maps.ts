import type { Mapping } from "../mapping/mapping.ts";
import { ownMapsAll } from "../namespace/caller-map.ts";
import { native } from "../native/addon.ts";
import { mountDescriptors } from "../native/descriptor.ts";
import { namespaceId } from "./find-mount.ts";
import { mappingAt } from "./statmount.ts";

/** The unique mount ID of a descriptor's mount, which is never reused; 0n before Linux 6.8. */
function uniqueId(fd: number): bigint {
	const ids = native().mountIds(fd);
	return typeof ids === "number" ? 0n : ids[1];
}

/**
 * The map of a mount of which this process holds a descriptor. The kernel reports the maps of attached mounts only, and a
 * detached mount can be the source of another one. The mounts are compared here, because few calls need it.
 */
export function heldMap(fd: number): Mapping | undefined {
	const id = uniqueId(fd);
	if (id === 0n) return undefined;
	for (const [held, map] of mountDescriptors()) if (uniqueId(held) === id) return map;
	return undefined;
}

/** statmount_mnt_idmap() in fs/mnt_idmapping.c leaves out extents that are not wholly mapped in the caller's namespace. */
export const PARTIAL =
	"this process's user namespace does not map every ID, and the kernel does not report the others";

/**
 * The map of a descriptor's mount, disk to visible. Undefined for a mount without a map; the reason, a string, if the map is not known.
 * `mountNs`: the mount namespace of the mount, if it is another one.
 */
export function mapOf(fd: number, mountNs: number | undefined): Mapping | string | undefined {
	const reported = mappingAt(fd, namespaceId(mountNs));
	if (reported === undefined) return undefined;
	if (typeof reported !== "string" && ownMapsAll()) return reported;
	return heldMap(fd) ?? (typeof reported === "string" ? reported : PARTIAL);
}
