import { type IdKind, type IdMap, MAX_ID } from "./extent.ts";

/** A range of subordinate IDs, as in a line of /etc/subuid. */
export interface SubidRange {
	first: number;
	size: number;
}

/** The IDs that a user may map without privilege: the ID of the user, and the subordinate ranges in their order. */
export interface Delegation {
	own: number;
	ranges: readonly SubidRange[];
}

/** For `Mapping.rootless`. */
export interface RootlessOptions {
	/** The login name or the uid of the user; by default the user of this process. */
	user?: string | number | undefined;
	/** If true, the user's own IDs map to themselves, and container ID 0 is the first subordinate ID. False by default. */
	keepId?: boolean | undefined;
}

/**
 * Looks up the IDs that a user may map. src/index.ts imports the implementation from src/subid/, because this folder reads no files.
 */
export type FindDelegation = (user: string | number | undefined) => Record<IdKind, Delegation>;

let find: FindDelegation | undefined;

export function setFindDelegation(finder: FindDelegation): void {
	find = finder;
}

export function findDelegation(user: string | number | undefined): Record<IdKind, Delegation> {
	if (find === undefined) throw new Error("userns: no function looks up subordinate IDs");
	return find(user);
}

/**
 * The extents of one kind. Container ID 0 is the user, and the IDs from 1 on are the subordinate ranges, one after the other. With
 * `keepId`, the ID of the user maps to itself, and the ranges take the other container IDs from 0 on.
 */
export function rootlessExtents({ own, ranges }: Delegation, keepId: boolean): IdMap[] {
	const reserved = keepId ? own : 0;
	const extents: IdMap[] = [{ containerID: reserved, hostID: own, size: 1 }];
	let next = 0;
	for (const { first, size } of disjoint([{ first: own, size: 1 }, ...ranges]).slice(1)) {
		let taken = 0;
		while (taken < size) {
			if (next === reserved) next++;
			const room = next < reserved ? reserved - next : MAX_ID + 1 - next;
			const piece = Math.min(size - taken, room);
			if (piece <= 0) return extents; // all container IDs are mapped
			extents.push({ containerID: next, hostID: first + taken, size: piece });
			next += piece;
			taken += piece;
		}
	}
	return extents;
}

/**
 * Removes from each range the IDs of earlier ranges, because the lines of a user may overlap and an ID can be mapped only once. The
 * IDs seen are kept as sorted ranges, merged where they touch, so that ten thousand lines take milliseconds.
 */
export function disjoint(ranges: readonly SubidRange[]): SubidRange[] {
	const kept: SubidRange[] = [];
	const taken: SubidRange[] = [];
	for (const { first, size } of ranges) {
		const end = first + size;
		const from = firstReaching(taken, first);
		let at = first;
		let to = from;
		for (let next = taken[to]; next !== undefined && next.first <= end; next = taken[++to]) {
			if (next.first > at) kept.push({ first: at, size: next.first - at });
			at = Math.max(at, next.first + next.size);
		}
		if (at < end) kept.push({ first: at, size: end - at });
		const start = Math.min(first, taken[from]?.first ?? first);
		taken.splice(from, to - from, { first: start, size: Math.max(at, end) - start });
	}
	return kept;
}

/** The index of the first of sorted ranges that ends at the ID or after it, by binary search. */
function firstReaching(ranges: readonly SubidRange[], id: number): number {
	let low = 0;
	let high = ranges.length;
	while (low < high) {
		const middle = (low + high) >>> 1;
		const { first, size } = ranges[middle] as SubidRange;
		if (first + size < id) low = middle + 1;
		else high = middle;
	}
	return low;
}
