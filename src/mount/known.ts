import type { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/load.ts";

/**
 * The maps of the mounts that this process holds. The kernel tells them of attached mounts only, and a detached one can
 * be the source of another mount. By the unique number, which is never given to another mount.
 */
const held = new Map<bigint, Mapping>();

function uniqueId(fd: number): bigint {
	const facts = native().mountFacts(fd);
	return typeof facts === "number" ? 0n : facts[1];
}

/** Answers what makes it forgotten again. */
export function rememberMap(fd: number, mapping: Mapping): () => void {
	const id = uniqueId(fd);
	if (id === 0n) return () => {};
	held.set(id, mapping);
	return () => held.delete(id);
}

export function rememberedMap(fd: number): Mapping | undefined {
	return held.get(uniqueId(fd));
}
