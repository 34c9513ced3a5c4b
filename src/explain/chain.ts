import { type Extents, type IdKind, type IdMap, MAX_ID, showExtent, showRange } from "../mapping/extent.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { IdRange } from "../mapping/owner.ts";

/*
 * Follows an owner from the disk to stat(2): through the map of the mount, and into a user namespace. An ID that one of the two does not
 * map is shown as the overflow ID, which is also an ordinary ID that a file can have. Every object has all its properties, because a
 * missing one would be read from a polluted Object.prototype.
 */

/** The first step at which an owner has no ID, and the reason. */
export interface LostOwner {
	/** `"mount"`: the map of the mount; `"namespace"`: the user namespace; `"caller"`: that of this process, which cannot see the owner. */
	at: "mount" | "namespace" | "caller";
	/** The IDs around the owner that the map does not map. */
	gap: IdRange | undefined;
	/** The extent of the map that is nearest to the owner. */
	nearest: Readonly<IdMap> | undefined;
	/** The reason as a sentence. */
	reason: string;
}

/** The owner of a file at each step from the disk to stat(2): the uid or the gid. */
export interface OwnerChain {
	/** The ID on disk. Undefined if it cannot be read. */
	disk: number | undefined;
	/** The ID visible through the mount, in the caller's user namespace. Undefined if the mount does not map the owner. */
	visible: number | undefined;
	/** The ID in the user namespace. Undefined if that namespace does not map the owner. */
	inside: number | undefined;
	/** The ID that stat(2) returns there. */
	stat: number;
	/** The first step at which the owner has no ID. */
	lost: LostOwner | undefined;
	/**
	 * Only if `stat` is the overflow ID: true if that is the owner's own ID, false if it stands for an owner without an ID. Undefined if
	 * this cannot be known.
	 */
	real: boolean | undefined;
}

/** What is known about one kind of owner. */
export interface OwnerFacts {
	kind: IdKind;
	/** The ID that statx(2) returns to this process. */
	shown: number;
	/** The ID without the map of the mount; negative if it is not known. */
	raw: number;
	overflow: number;
	/** Disk to visible. Undefined for a mount without a map; a text if the map is not known, with the reason. */
	mount: Mapping | string | undefined;
	mountName: string;
	/** Inside to outside. Undefined: the user namespace of this process. */
	namespace: Mapping | undefined;
	namespaceName: string;
	/** The file system may belong to another user namespace than the initial one, so that `raw` may not be the ID on disk. */
	foreign: boolean;
	/** The extents of the user namespace of this process. */
	own: readonly Readonly<IdMap>[];
}

export function extents(mapping: Mapping, kind: IdKind): Extents {
	return kind === "uid" ? mapping.uidMappings : mapping.gidMappings;
}

/** The ID that a map has for one in the other column. */
export function across(
	mapping: Mapping,
	kind: IdKind,
	id: number,
	to: "host" | "container",
): number | undefined {
	if (to === "host") return kind === "uid" ? mapping.uidToHost(id) : mapping.gidToHost(id);
	return kind === "uid" ? mapping.uidToContainer(id) : mapping.gidToContainer(id);
}

/** The range of unmapped IDs around an ID, and the extent nearest to it. `column` is the column of the ID. */
function gapAround(
	mapping: Mapping,
	kind: IdKind,
	column: "containerID" | "hostID",
	id: number,
): Pick<LostOwner, "gap" | "nearest"> {
	const gaps = (column === "containerID" ? mapping : mapping.invert()).unmapped[kind];
	const gap = gaps.find(({ first, size }) => id >= first && id < first + size);
	const away = (extent: Readonly<IdMap>) =>
		Math.max(extent[column] - id, id - (extent[column] + extent.size - 1));
	const [nearest] = [...extents(mapping, kind)].sort((a, b) => away(a) - away(b));
	return { gap, nearest };
}

function notMapped(at: "mount" | "namespace", facts: OwnerFacts, mapping: Mapping, id: number): LostOwner {
	const found = gapAround(mapping, facts.kind, at === "mount" ? "containerID" : "hostID", id);
	const { gap = { first: id, size: 1 }, nearest } = found;
	const near = nearest === undefined ? "the map is empty" : `the nearest extent is ${showExtent(nearest)}`;
	const [name, where] =
		at === "mount" ? [`the map of ${facts.mountName}`, "on disk"] : [facts.namespaceName, "outside"];
	return {
		at,
		...found,
		reason: `${name} has no ${facts.kind} ${id} ${where}: ${showRange(gap.first, gap.size)} is not mapped, and ${near}`,
	};
}

/** Whether the user namespace of this process maps an ID. */
function isOwn({ own }: OwnerFacts, id: number): boolean {
	return own.some(({ containerID, size }) => id >= containerID && id < containerID + size);
}

/** The first steps of the chain. */
interface Outer {
	disk: number | undefined;
	visible: number | undefined;
	lost: LostOwner | undefined;
}

function outer(disk: number | undefined, visible?: number, lost?: LostOwner): Outer {
	return { disk, visible, lost };
}

/** From the disk to this process. */
function throughMount(facts: OwnerFacts): Outer {
	const { kind, shown, raw, overflow, mount, mountName, own } = facts;
	const all = own.reduce((sum, { size }) => sum + size, 0) > MAX_ID;
	const known = raw >= 0 && all ? raw : undefined;
	if (shown !== overflow) {
		if (mount === undefined) return outer(shown, shown);
		const disk = typeof mount === "object" ? across(mount, kind, shown, "container") : undefined;
		return outer(disk ?? known, shown);
	}
	if (mount === undefined) {
		if (all) return outer(shown, shown);
		if (isOwn(facts, shown)) return outer(undefined);
		return outer(
			undefined,
			undefined,
			without("caller", `the user namespace of this process does not map its ${kind}`),
		);
	}
	if (typeof mount === "string" || !all) return outer(known);
	if (across(mount, kind, shown, "container") === undefined) {
		const reason = `the map of ${mountName} does not map its ${kind} on disk, which this process cannot read`;
		const lost = known === undefined ? without("mount", reason) : notMapped("mount", facts, mount, known);
		return outer(known, undefined, lost);
	}
	if (known === undefined || facts.foreign) return outer(known);
	const visible = across(mount, kind, known, "host");
	if (visible === undefined) return outer(known, undefined, notMapped("mount", facts, mount, known));
	return outer(known, visible === shown ? visible : undefined);
}

/** A step whose map or ID is not known. */
function without(at: LostOwner["at"], reason: string): LostOwner {
	return { at, gap: undefined, nearest: undefined, reason };
}

/** The whole chain of one kind. */
export function follow(facts: OwnerFacts): OwnerChain {
	const { kind, overflow, namespace } = facts;
	const { disk, visible, lost: before } = throughMount(facts);
	const inside =
		namespace === undefined || visible === undefined
			? visible
			: across(namespace, kind, visible, "container");
	const lost =
		namespace !== undefined && visible !== undefined && inside === undefined
			? notMapped("namespace", facts, namespace, visible)
			: before;
	const stat = inside ?? overflow;
	const isReal = inside === overflow ? true : lost === undefined ? undefined : false;
	return { disk, visible, inside, stat, lost, real: stat === overflow ? isReal : undefined };
}
