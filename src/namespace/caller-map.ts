import { readFileSync } from "node:fs";
import { UsernsError } from "../errors.ts";
import {
	byContainer,
	type Extents,
	type IdKind,
	type IdMap,
	MAX_ID,
	showExtent,
	showRange,
} from "../mapping/extent.ts";
import { parseProcLines } from "../mapping/proc.ts";

const own: { uid: IdMap[] | undefined; gid: IdMap[] | undefined } = { uid: undefined, gid: undefined };

/**
 * The extents of the namespace that this process lives in, not merged. Kept once there are some: a map is written
 * once only, and a process with threads, as Node is, cannot change its user namespace (setns(2), EINVAL).
 */
function ownExtents(kind: IdKind): readonly IdMap[] | undefined {
	const kept = own[kind];
	if (kept !== undefined) return kept;
	let text: string;
	try {
		text = readFileSync(`/proc/self/${kind}_map`, "utf8");
	} catch {
		return undefined; // no /proc to ask: the kernel itself will judge
	}
	const extents = parseProcLines(kind, text).sort(byContainer);
	if (extents.length > 0) own[kind] = extents;
	return extents;
}

/** Whether there is no ID that this process's namespace lacks, as on a host. */
export function ownMapsAll(): boolean {
	return (["uid", "gid"] as const).every((kind) => {
		const ids = (ownExtents(kind) ?? []).reduce((sum, { size }) => sum + size, 0);
		return ids === MAX_ID + 1;
	});
}

/**
 * Cuts extents at the borders of the caller's own: an extent that spans two of them is refused with EPERM, even where
 * they continue each other (`map_id_range_down` in kernel/user_namespace.c). Throws for a hostID that the caller's
 * namespace does not have.
 */
export function cutAtOwn(
	kind: IdKind,
	extents: Extents,
	within: readonly IdMap[] | undefined = ownExtents(kind),
): Extents {
	if (within === undefined) return extents;
	const [only] = within;
	if (within.length === 1 && only !== undefined) {
		if (only.containerID === 0 && only.size > MAX_ID) return extents; // on a host
		if (extents.every((extent) => isInside(extent, only))) return extents;
	}
	const pieces: IdMap[] = [];
	for (const extent of extents) {
		let at = 0;
		while (at < extent.size) {
			const first = extent.hostID + at;
			const around = within.find((o) => first >= o.containerID && first < o.containerID + o.size);
			if (around === undefined) throw unmapped(kind, extent, first, within);
			const size = Math.min(extent.size - at, around.containerID + around.size - first);
			pieces.push({ containerID: extent.containerID + at, hostID: first, size });
			at += size;
		}
	}
	return pieces;
}

function isInside(extent: Readonly<IdMap>, around: IdMap): boolean {
	const { containerID, size } = around;
	return extent.hostID >= containerID && extent.hostID + extent.size <= containerID + size;
}

function unmapped(kind: IdKind, extent: IdMap, id: number, within: readonly IdMap[]): UsernsError {
	const has =
		within.length === 0
			? "none"
			: within
					.map((o) => showRange(o.containerID, o.size))
					.slice(0, 8)
					.join(", ");
	return new UsernsError(
		"ERR_USERNS_UNMAPPED_ID",
		`${kind}Mappings: the extent ${showExtent(extent)} needs the ${kind} ${id}, which is not mapped in the user namespace of this process`,
		{
			hint: `The ${kind}s of this process's own namespace are: ${has}${within.length > 8 ? ", …" : ""} (/proc/self/${kind}_map).`,
		},
	);
}
