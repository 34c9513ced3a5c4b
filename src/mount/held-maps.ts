import type { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/addon.ts";
import { mountDescriptors } from "../native/descriptor.ts";

/** The number of the mount that a descriptor is on, which is never given to another; 0n before Linux 6.8. */
function uniqueId(fd: number): bigint {
	const facts = native().mountFacts(fd);
	return typeof facts === "number" ? 0n : facts[1];
}

/**
 * The map of a mount that this process holds. The kernel tells it of attached mounts only, and a detached one can be the
 * source of another mount. Which mount each one is, is asked here: this is done once for a thousand that are made.
 */
export function heldMap(fd: number): Mapping | undefined {
	const id = uniqueId(fd);
	if (id === 0n) return undefined;
	for (const [held, mapping] of mountDescriptors()) if (uniqueId(held) === id) return mapping;
	return undefined;
}
