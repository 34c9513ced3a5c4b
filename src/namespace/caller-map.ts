import { UsernsError } from "../errors.ts";
import {
	canonical,
	type Extents,
	type IdKind,
	type IdMap,
	MAX_ID,
	showExtent,
	showRanges,
} from "../mapping/extent.ts";
import { ownExtents } from "../subid/own-extents.ts";

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
	return new UsernsError(
		"ERR_USERNS_UNMAPPED_ID",
		`${kind}Mappings: the extent ${showExtent(extent)} needs the ${kind} ${id}, which is not mapped in the user namespace of this process`,
		{ hint: `Use host IDs that /proc/self/${kind}_map maps: ${showRanges(within, "containerID")}.` },
	);
}

/** Each ID that the user namespace of this process has, mapped to itself. */
export function ownIdentity(): Record<IdKind, Extents> {
	const identity = (kind: IdKind) => {
		const same = (ownExtents(kind) ?? [{ containerID: 0, hostID: 0, size: MAX_ID + 1 }]).map(
			({ containerID, size }) => ({ containerID, hostID: containerID, size }),
		);
		return canonical(kind, same);
	};
	return { uid: identity("uid"), gid: identity("gid") };
}
