import { readFileSync } from "node:fs";
import { byContainer, type IdKind, type IdMap } from "../mapping/extent.ts";
import { parseProcLines } from "../mapping/proc.ts";
import type { SubidRange } from "../mapping/rootless.ts";

const own: { uid: IdMap[] | undefined; gid: IdMap[] | undefined } = { uid: undefined, gid: undefined };

/**
 * The extents of the user namespace of this process, not merged; undefined if /proc cannot be read. Cached when they are not
 * empty, because a map is written only once, and a process with threads cannot change its user namespace (setns(2), EINVAL).
 */
export function ownExtents(kind: IdKind): readonly IdMap[] | undefined {
	const cached = own[kind];
	if (cached !== undefined) return cached;
	let text: string;
	try {
		text = readFileSync(`/proc/self/${kind}_map`, "utf8");
	} catch {
		return undefined; // without /proc, the kernel checks the IDs
	}
	const extents = parseProcLines(kind, text).sort(byContainer);
	if (extents.length > 0) own[kind] = extents;
	return extents;
}

/** The parts of ranges whose IDs exist in a user namespace with these extents. */
export function existing(ranges: readonly SubidRange[], within: readonly IdMap[]): SubidRange[] {
	return ranges.flatMap(({ first, size }) =>
		within.flatMap((o) => {
			const from = Math.max(first, o.containerID);
			const end = Math.min(first + size, o.containerID + o.size);
			return from < end ? [{ first: from, size: end - from }] : [];
		}),
	);
}
