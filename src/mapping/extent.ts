import { invalidMapping, show, type UsernsError } from "../errors.ts";
import { ownValue } from "../options.ts";

/**
 * One extent of an ID map, spelled as the OCI runtime-spec spells it. In a user namespace `containerID` is the
 * first ID inside and `hostID` the first ID outside; for a mount `containerID` is the first ID on disk and
 * `hostID` the first ID visible through the mount. `size` is a number of IDs.
 * @see user_namespaces(7), "User and group ID mappings"
 */
export interface IdMap {
	containerID: number;
	hostID: number;
	size: number;
}

export type IdKind = "uid" | "gid";

/** A canonical list: sorted by `containerID`, with no two extents that could be one. The lists of a `Mapping` are frozen. */
export type Extents = readonly Readonly<IdMap>[];

/** The last ID that can be mapped. 4294967295 is (uid_t) -1, which the kernel keeps for "no ID". */
export const MAX_ID = 4294967294;

export const NO_EXTENTS: Extents = Object.freeze([]);

/** `0:2100000000:65536`, for messages. */
export function showExtent(extent: Readonly<IdMap>): string {
	return `${extent.containerID}:${extent.hostID}:${extent.size}`;
}

/** `0`, or `0–65535`. */
export function showRange(first: number, size: number): string {
	return size === 1 ? `${first}` : `${first}–${first + size - 1}`;
}

/**
 * Checks one extent by the kernel's own rules (`map_write` in kernel/user_namespace.c) and copies it. The kernel
 * itself cuts numbers off at 32 bits, so that 4294967296 would become 0, root: hence nothing unchecked may reach it.
 */
export function checkExtent(input: unknown, where: string): IdMap {
	if (typeof input !== "object" || input === null) {
		throw invalidMapping(
			`${where} must be an object {containerID, hostID, size}, not ${show(input)}`,
			"Write an extent as {containerID: 0, hostID: 2100000000, size: 65536}.",
		);
	}
	const extent: IdMap = {
		containerID: checkNumber(ownValue(input, "containerID"), "containerID", where),
		hostID: checkNumber(ownValue(input, "hostID"), "hostID", where),
		size: checkNumber(ownValue(input, "size"), "size", where),
	};
	checkBounds(extent, where);
	return extent;
}

function checkNumber(value: unknown, name: string, where: string): number {
	if (typeof value !== "number") {
		throw invalidMapping(
			`${where}: ${name} must be a number, not ${value === undefined ? "left out" : show(value)}`,
			"Give every extent containerID, hostID and size as whole numbers.",
		);
	}
	if (!Number.isInteger(value)) {
		throw invalidMapping(`${where}: ${name} must be a whole number, not ${show(value)}`);
	}
	if (value < 0) throw invalidMapping(`${where}: ${name} must not be negative, but is ${value}`);
	if (value > 0xffffffff) {
		throw invalidMapping(
			`${where}: ${name} must fit in 32 bits, but is ${value}`,
			`The largest ID that can be mapped is ${MAX_ID}; the kernel would cut this number off.`,
		);
	}
	return value + 0; // −0 becomes 0
}

/** The rules of checkBounds(), for those who only ask. */
export function isWithinBounds({ containerID, hostID, size }: Readonly<IdMap>): boolean {
	const room = MAX_ID + 1 - size;
	return size > 0 && containerID <= room && hostID <= room;
}

/**
 * The rules for an extent whose three numbers are whole and in 0 … 2^32−1. The place is for messages; a function where
 * telling it costs more than checking.
 */
export function checkBounds(extent: Readonly<IdMap>, place: string | (() => string)): void {
	if (isWithinBounds(extent)) return;
	const { containerID, size } = extent;
	const where = `${typeof place === "string" ? place : place()} (${showExtent(extent)})`;
	if (size === 0) throw invalidMapping(`${where}: size must be at least 1`);
	const name = containerID + size - 1 > MAX_ID ? "containerID" : "hostID";
	const first = extent[name];
	if (first > MAX_ID) {
		throw invalidMapping(
			`${where}: ${name} ${first} stands for "no ID" and cannot be mapped`,
			`The largest ID that can be mapped is ${MAX_ID}.`,
		);
	}
	throw invalidMapping(
		`${where}: ${name} runs to ${first + size - 1}, past ${MAX_ID}`,
		`Make size at most ${MAX_ID - first + 1} here.`,
	);
}

/**
 * The canonical form of checked extents, which it takes over: sorted by containerID, neighbours merged, frozen. Throws when two extents
 * overlap in either column, which the kernel answers with EINVAL (`mappings_overlap`).
 */
export function canonical(kind: IdKind, extents: readonly IdMap[]): Extents {
	if (extents.length < 2) return merge(extents);
	const sorted = sortedByContainer(extents);
	refuseContainerOverlap(kind, sorted);
	refuseHostOverlap(kind, sortedByHost(sorted));
	return merge(sorted);
}

/**
 * Merges neighbours of a list that is sorted by containerID and free of overlaps. Takes the list and its extents over:
 * where nothing is to be merged, which is nearly always, they are frozen as they are.
 */
export function merge(sorted: readonly Readonly<IdMap>[]): Extents {
	return hasNeighbours(sorted) ? mergeNeighbours(sorted) : sorted;
}

/** Freezes a list and its extents. Only the lists that a Mapping shows are frozen, because freezing takes longer than parsing. */
export function freeze(extents: Extents): Extents {
	for (const extent of extents) Object.freeze(extent);
	return Object.freeze(extents);
}

function continues(a: Readonly<IdMap>, b: Readonly<IdMap>): boolean {
	return a.containerID + a.size === b.containerID && a.hostID + a.size === b.hostID;
}

function hasNeighbours(sorted: readonly Readonly<IdMap>[]): boolean {
	for (let i = 1; i < sorted.length; i++) {
		if (continues(sorted[i - 1] as IdMap, sorted[i] as IdMap)) return true;
	}
	return false;
}

function mergeNeighbours(sorted: readonly Readonly<IdMap>[]): IdMap[] {
	const merged: IdMap[] = [];
	let last: IdMap | undefined;
	for (const extent of sorted) {
		if (last !== undefined && continues(last, extent)) last.size += extent.size;
		else {
			last = { containerID: extent.containerID, hostID: extent.hostID, size: extent.size };
			merged.push(last);
		}
	}
	return merged;
}

export function byContainer(a: Readonly<IdMap>, b: Readonly<IdMap>): number {
	return a.containerID - b.containerID;
}

export function byHost(a: Readonly<IdMap>, b: Readonly<IdMap>): number {
	return a.hostID - b.hostID;
}

/*
 * Each of these twice, once for a column: `extent[column]` with a column that varies is looked up by its name at every
 * step, which makes reading a long mapping take twice as long.
 */

/** The list itself where it is in order already, as it mostly is. */
function sortedByContainer(extents: readonly IdMap[]): readonly IdMap[] {
	for (let i = 1; i < extents.length; i++) {
		if ((extents[i] as IdMap).containerID < (extents[i - 1] as IdMap).containerID) {
			return [...extents].sort(byContainer);
		}
	}
	return extents;
}

function sortedByHost(extents: readonly IdMap[]): readonly IdMap[] {
	for (let i = 1; i < extents.length; i++) {
		if ((extents[i] as IdMap).hostID < (extents[i - 1] as IdMap).hostID) return [...extents].sort(byHost);
	}
	return extents;
}

function refuseContainerOverlap(kind: IdKind, sorted: readonly IdMap[]): void {
	for (let i = 1; i < sorted.length; i++) {
		const before = sorted[i - 1] as IdMap;
		const after = sorted[i] as IdMap;
		if (before.containerID + before.size > after.containerID)
			throw overlap(kind, "containerID", before, after);
	}
}

function refuseHostOverlap(kind: IdKind, sorted: readonly IdMap[]): void {
	for (let i = 1; i < sorted.length; i++) {
		const before = sorted[i - 1] as IdMap;
		const after = sorted[i] as IdMap;
		if (before.hostID + before.size > after.hostID) throw overlap(kind, "hostID", before, after);
	}
}

function overlap(kind: IdKind, column: "containerID" | "hostID", a: IdMap, b: IdMap): UsernsError {
	const shared = Math.min(a[column] + a.size, b[column] + b.size) - b[column];
	return invalidMapping(
		`${kind}Mappings: the extents ${showExtent(a)} and ${showExtent(b)} overlap: both have ${column} ${showRange(b[column], shared)}`,
		"Give every ID at most once in each column.",
	);
}

/** Binary search: the extent of a canonical list that holds the containerID. */
export function findContainer(extents: Extents, id: number): Readonly<IdMap> | undefined {
	let low = 0;
	let high = extents.length - 1;
	while (low <= high) {
		const middle = (low + high) >>> 1;
		const extent = extents[middle] as IdMap;
		if (id < extent.containerID) high = middle - 1;
		else if (id >= extent.containerID + extent.size) low = middle + 1;
		else return extent;
	}
	return undefined;
}

/** True when both canonical lists hold the same extents. */
export function sameExtents(a: Extents, b: Extents): boolean {
	if (a === b) return true;
	if (a.length !== b.length) return false;
	for (let i = 0; i < a.length; i++) {
		const x = a[i] as IdMap;
		const y = b[i] as IdMap;
		if (x.containerID !== y.containerID || x.hostID !== y.hostID || x.size !== y.size) return false;
	}
	return true;
}
