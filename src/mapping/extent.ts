import { invalidMapping, show, type UsernsError } from "../errors.ts";
import { ownValue } from "../options.ts";

/**
 * One extent of an ID map, with the names of the OCI runtime-spec. For a user namespace, `containerID` is the first ID inside and
 * `hostID` the first ID outside. For a mount, `containerID` is the first ID on disk and `hostID` the first ID visible through the
 * mount. `size` is the number of IDs.
 * @see user_namespaces(7), "User and group ID mappings"
 */
export interface IdMap {
	containerID: number;
	hostID: number;
	size: number;
}

export type IdKind = "uid" | "gid";

/** The names that a form of a mapping has for containerID, hostID and size. */
export type ExtentNames = readonly [containerID: string, hostID: string, size: string];

const OCI_NAMES: ExtentNames = ["containerID", "hostID", "size"];

/** A canonical list: sorted by `containerID`, with no two extents that could be one. The lists of a `Mapping` are frozen. */
export type Extents = readonly Readonly<IdMap>[];

/** The last ID that can be mapped. 4294967295 is (uid_t) -1, which means "no ID" to the kernel. */
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

/** The IDs of one column, at most eight ranges: `0–65535, 70000`. */
export function showRanges(extents: Extents, column: "containerID" | "hostID"): string {
	if (extents.length === 0) return "none";
	const ranges = extents.slice(0, 8).map((extent) => showRange(extent[column], extent.size));
	return `${ranges.join(", ")}${extents.length > 8 ? ", …" : ""}`;
}

/**
 * Checks one extent by the rules of the kernel (`map_write` in kernel/user_namespace.c) and copies it. The kernel truncates numbers
 * to 32 bits: it would read 4294967296 as 0, which is root. Therefore every number is checked before the kernel reads it. `where`
 * names the extent in messages.
 */
export function checkExtent(input: unknown, where: string, names: ExtentNames = OCI_NAMES): IdMap {
	const [container, host, size] = names;
	if (typeof input !== "object" || input === null) {
		throw invalidMapping(
			`${where} must be an object {${names.join(", ")}}, not ${show(input)}`,
			`Write an extent as {${container}: 0, ${host}: 2100000000, ${size}: 65536}.`,
		);
	}
	const extent: IdMap = {
		containerID: checkNumber(input, container, where, names),
		hostID: checkNumber(input, host, where, names),
		size: checkNumber(input, size, where, names),
	};
	checkBounds(extent, where);
	return extent;
}

function checkNumber(input: object, name: string, where: string, names: ExtentNames): number {
	const value = ownValue(input, name);
	if (typeof value !== "number") {
		throw invalidMapping(
			`${where}: ${name} must be a number, not ${value === undefined ? "left out" : show(value)}`,
			`Give every extent ${names[0]}, ${names[1]} and ${names[2]} as whole numbers.`,
		);
	}
	if (!Number.isInteger(value)) {
		throw invalidMapping(`${where}: ${name} must be a whole number, not ${show(value)}`);
	}
	if (value < 0) throw invalidMapping(`${where}: ${name} must not be negative, but is ${value}`);
	if (value > 0xffffffff) {
		throw invalidMapping(
			`${where}: ${name} must fit in 32 bits, but is ${value}`,
			`The largest ID that can be mapped is ${MAX_ID}; the kernel would truncate this number.`,
		);
	}
	return value + 0; // changes −0 to 0
}

/** Returns true if checkBounds() would not throw. */
export function isWithinBounds({ containerID, hostID, size }: Readonly<IdMap>): boolean {
	const room = MAX_ID + 1 - size;
	return size > 0 && containerID <= room && hostID <= room;
}

/**
 * Throws `ERR_USERNS_INVALID_MAPPING` if an extent is empty or has an ID above MAX_ID. Its numbers must be whole and in 0 … 2^32−1.
 * `place` is for the message; it is a function where finding the place takes longer than the check, and receives the extent as text.
 */
export function checkBounds(extent: Readonly<IdMap>, place: string | ((shown: string) => string)): void {
	if (isWithinBounds(extent)) return;
	const { containerID, size } = extent;
	const shown = showExtent(extent);
	const where = typeof place === "string" ? `${place} (${shown})` : place(shown);
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
		`${where}: the last ${name} is ${first + size - 1}, above ${MAX_ID}`,
		`Reduce size to at most ${MAX_ID - first + 1}.`,
	);
}

/**
 * Returns the canonical form of checked extents: sorted by containerID, with neighbours merged. The result may be the list itself.
 * Throws `ERR_USERNS_INVALID_MAPPING` if two extents overlap in either column, because the kernel refuses them with EINVAL
 * (`mappings_overlap`).
 */
export function canonical(kind: IdKind, extents: readonly IdMap[]): Extents {
	if (extents.length < 2) return merge(extents);
	const sorted = sortedByContainer(extents);
	refuseContainerOverlap(kind, sorted);
	refuseHostOverlap(kind, sortedByHost(sorted));
	return merge(sorted);
}

/**
 * Merges neighbours of a list that is sorted by containerID and has no overlaps. Returns the list itself if it has no neighbours,
 * which is the usual case.
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
 * The next functions exist once for each column. With one function, `extent[column]` is looked up by name at every step, and
 * reading a long mapping takes twice as long.
 */

/** Returns the list itself if it is sorted, which is the usual case. */
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

/** Finds the extent of a canonical list that has a container ID, by binary search. */
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

/** Returns true if both lists have the same extents in the same order. */
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
