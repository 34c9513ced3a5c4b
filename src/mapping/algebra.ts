import { invalidArgument, invalidMapping, show } from "../errors.ts";
import {
	byContainer,
	byHost,
	canonical,
	type Extents,
	findContainer,
	type IdKind,
	type IdMap,
	merge,
} from "./extent.ts";

/*
 * Operations on canonical lists of one kind, as sets of pairs (container ID, host ID). No ID is twice in a column. Every result is
 * canonical. Each operation takes O(n log n): it sorts once and reads both lists in parallel.
 */

/** Exchanges host IDs and container IDs. */
export function invert(extents: Extents): Extents {
	const swapped = extents.map(({ containerID, hostID, size }) => ({
		containerID: hostID,
		hostID: containerID,
		size,
	}));
	return merge(swapped.sort(byContainer));
}

/** Applies `inner`, then `outer`, whose container IDs are the host IDs of `inner`. Drops IDs that only one of them maps. */
export function compose(inner: Extents, outer: Extents): Extents {
	const result: IdMap[] = [];
	const first = [...inner].sort(byHost);
	for (let i = 0, j = 0; i < first.length && j < outer.length; ) {
		const a = first[i] as IdMap;
		const b = outer[j] as IdMap;
		const start = Math.max(a.hostID, b.containerID);
		const end = Math.min(a.hostID + a.size, b.containerID + b.size);
		if (start < end) {
			result.push({
				containerID: a.containerID + (start - a.hostID),
				hostID: b.hostID + (start - b.containerID),
				size: end - start,
			});
		}
		// The extent that ends first has no further overlap.
		if (a.hostID + a.size < b.containerID + b.size) i++;
		else j++;
	}
	return merge(result.sort(byContainer));
}

/** The pairs that are in both lists. */
export function intersect(a: Extents, b: Extents): Extents {
	return split(a, b).shared;
}

/** The pairs of `a` that are not in `b`. */
export function subtract(a: Extents, b: Extents): Extents {
	return split(a, b).rest;
}

/** The pairs of both lists. Throws `ERR_USERNS_INVALID_MAPPING` if an ID is then twice in a column. */
export function union(a: Extents, b: Extents, kind: IdKind): Extents {
	try {
		return canonical(kind, [...subtract(a, b), ...b]);
	} catch (cause) {
		throw invalidMapping(
			`the union has a conflict: ${(cause as Error).message}`,
			"Subtract one mapping from the other first.",
		);
	}
}

/** Splits `a` into the pairs that are in `b` and the rest. */
function split(a: Extents, b: Extents): { shared: Extents; rest: Extents } {
	const shared: IdMap[] = [];
	const rest: IdMap[] = [];
	let j = 0;
	for (const { containerID, hostID, size } of a) {
		const end = containerID + size;
		let at = containerID;
		const piece = (from: number, to: number) => ({
			containerID: from,
			hostID: hostID + (from - containerID),
			size: to - from,
		});
		for (; j < b.length; j++) {
			const other = b[j] as IdMap;
			const from = Math.max(at, other.containerID);
			const to = Math.min(end, other.containerID + other.size);
			if (from < to && other.hostID - other.containerID === hostID - containerID) {
				if (at < from) rest.push(piece(at, from));
				shared.push(piece(from, to));
				at = to;
			}
			if (other.containerID + other.size > end) break; // the next extent of `a` may overlap it too
		}
		if (at < end) rest.push(piece(at, end));
	}
	return { shared: merge(shared), rest: merge(rest) };
}

/** Removes every pair whose container ID or host ID is in a range of the extent. */
export function clear(extents: Extents, from: Readonly<IdMap>): Extents {
	const inColumns = cut(extents, "containerID", from.containerID, from.size);
	return merge(cut(inColumns, "hostID", from.hostID, from.size));
}

/** Removes the IDs of a range in one column. The order of the extents stays. */
function cut(extents: Extents, column: "containerID" | "hostID", first: number, size: number): IdMap[] {
	const result: IdMap[] = [];
	for (const extent of extents) {
		const before = Math.min(Math.max(first - extent[column], 0), extent.size);
		const skip = Math.min(Math.max(first + size - extent[column], 0), extent.size);
		const keep = (from: number, to: number) => {
			if (to > from) {
				result.push({
					containerID: extent.containerID + from,
					hostID: extent.hostID + from,
					size: to - from,
				});
			}
		};
		keep(0, before);
		keep(skip, extent.size);
	}
	return result;
}

/** Adds an extent and removes the pairs that conflict with it in either column. */
export function punch(kind: IdKind, extents: Extents, hole: Readonly<IdMap>): Extents {
	return canonical(kind, [...clear(extents, hole), { ...hole }]);
}

/** The number of IDs. */
export function count(extents: Extents): number {
	return extents.reduce((sum, { size }) => sum + size, 0);
}

/** The host ID of a container ID; undefined if the extents do not map it. */
export function translate(extents: Extents, id: number): number | undefined {
	if (!Number.isInteger(id) || id < 0 || id > 0xffffffff) {
		throw invalidArgument(`an ID must be a whole number from 0 to 4294967295, not ${show(id)}`);
	}
	const extent = findContainer(extents, id);
	return extent === undefined ? undefined : extent.hostID + (id - extent.containerID);
}
