import type { Mapping } from "../mapping/mapping.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { native } from "../native/load.ts";

interface Held {
	/** Weak: a mount that is forgotten without close() must be noticed as such. */
	descriptor: WeakRef<Descriptor>;
	mapping: Mapping;
}

/**
 * The maps of the mounts that this process holds. The kernel tells them of attached mounts only, and a detached one can
 * be the source of another mount.
 */
const held = new Set<Held>();

/** The number of the mount that a descriptor is on, which is never given to another; 0n before Linux 6.8. */
function uniqueId(fd: number): bigint {
	const facts = native().mountFacts(fd);
	return typeof facts === "number" ? 0n : facts[1];
}

/** How many there may be before those are looked for that were forgotten without close(). */
let room = 64;

function dropForgotten(): void {
	for (const entry of held) if (entry.descriptor.deref() === undefined) held.delete(entry);
	room = Math.max(64, 2 * held.size);
}

/** Answers what makes it forgotten again. */
export function rememberMap(descriptor: Descriptor, mapping: Mapping): () => void {
	if (held.size >= room) dropForgotten();
	const entry = { descriptor: new WeakRef(descriptor), mapping };
	held.add(entry);
	return () => held.delete(entry);
}

/** Which mount each one is, is asked here: this is done once for a thousand that are remembered. */
export function rememberedMap(fd: number): Mapping | undefined {
	const id = uniqueId(fd);
	if (id === 0n) return undefined;
	for (const entry of held) {
		const descriptor = entry.descriptor.deref();
		if (descriptor === undefined || descriptor.closed) held.delete(entry);
		else if (uniqueId(descriptor.fd) === id) return entry.mapping;
	}
	return undefined;
}
