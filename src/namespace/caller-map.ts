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
 * The extents of the user namespace of this process, not merged; undefined if /proc cannot be read. Cached when they are not
 * empty, because a map is written only once, and a process with threads cannot change its user namespace (setns(2), EINVAL).
 */
function ownExtents(kind: IdKind): readonly IdMap[] | undefined {
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

/** Whether the user namespace of this process maps every ID, as on a host. */
export function ownMapsAll(): boolean {
	return (["uid", "gid"] as const).every((kind) => {
		const ids = (ownExtents(kind) ?? []).reduce((sum, { size }) => sum + size, 0);
		return ids === MAX_ID + 1;
	});
}

/**
 * Cuts extents at the borders of the caller's own extents. The kernel refuses an extent that spans two of them with EPERM, even
 * if they are adjacent (`map_id_range_down` in kernel/user_namespace.c). Throws `ERR_USERNS_UNMAPPED_ID` for a hostID that the
 * caller's namespace does not map.
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
		if (extents.every((extent) => contains(only, extent))) return extents;
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

function contains(around: IdMap, extent: Readonly<IdMap>): boolean {
	const { containerID, size } = around;
	return extent.hostID >= containerID && extent.hostID + extent.size <= containerID + size;
}

function unmapped(kind: IdKind, extent: IdMap, id: number, within: readonly IdMap[]): UsernsError {
	const ranges =
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
			hint: `Use host IDs that /proc/self/${kind}_map maps: ${ranges}${within.length > 8 ? ", …" : ""}.`,
		},
	);
}
