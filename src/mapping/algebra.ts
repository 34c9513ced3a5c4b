import { invalidMapping } from "../errors.ts";
import { byContainer, byHost, canonical, type Extents, type IdKind, type IdMap, merge } from "./extent.ts";

/*
 * All on canonical lists of one kind, seen as sets of pairs (container ID, host ID) in which no ID stands twice in a
 * column. Every result is canonical again. O(n log n): each sorts once and then goes through both lists side by side.
 */

/** Host IDs become container IDs and the other way round. */
export function invert(extents: Extents): Extents {
	const swapped = extents.map(({ containerID, hostID, size }) => ({
		containerID: hostID,
		hostID: containerID,
		size,
	}));
	return merge(swapped.sort(byContainer));
}

/** First `inner`, then `outer`: what `inner` calls a host ID is a container ID of `outer`. Other IDs fall away. */
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
		// The one that ends first cannot meet anything further.
		if (a.hostID + a.size < b.containerID + b.size) i++;
		else j++;
	}
	return merge(result.sort(byContainer));
}

/** The pairs that are in both. */
export function intersect(a: Extents, b: Extents): Extents {
	return split(a, b).shared;
}

/** The pairs of `a` that are not in `b`. */
export function subtract(a: Extents, b: Extents): Extents {
	return split(a, b).rest;
}

/** The pairs of both; throws where one ID would stand for two. */
export function union(a: Extents, b: Extents, kind: IdKind): Extents {
	try {
		return canonical(kind, [...subtract(a, b), ...b]);
	} catch (cause) {
		throw invalidMapping(
			`the union has a conflict: ${(cause as Error).message}`,
			"Subtract the extents that conflict first, or use punch for a single ID.",
		);
	}
}

/** `a` in two parts: what `b` maps in the same way, and the rest. */
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
			if (other.containerID + other.size > end) break; // it may go on in the next one
		}
		if (at < end) rest.push(piece(at, end));
	}
	return { shared: merge(shared), rest: merge(rest) };
}

/** Takes every pair away whose container ID or host ID is in the extent's ranges. */
export function clear(extents: Extents, from: Readonly<IdMap>): Extents {
	const inColumns = cut(extents, "containerID", from.containerID, from.size);
	return merge(cut(inColumns, "hostID", from.hostID, from.size));
}

/** In the order that they had. */
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

/** Puts the extent in and takes away whatever conflicts with it, in either column. */
export function punch(kind: IdKind, extents: Extents, hole: Readonly<IdMap>): Extents {
	return canonical(kind, [...clear(extents, hole), { ...hole }]);
}

export function count(extents: Extents): number {
	return extents.reduce((sum, { size }) => sum + size, 0);
}
