import { type IdKind, type IdMap, MAX_ID } from "./extent.ts";

/** A range of subordinate IDs, as a line of /etc/subuid gives it. */
export interface SubidRange {
	first: number;
	size: number;
}

/** What a user may map without privilege: the own ID, and the subordinate ranges in their order. */
export interface Delegation {
	own: number;
	ranges: readonly SubidRange[];
}

/** For `Mapping.rootless`. */
export interface RootlessOptions {
	/** The login name, or the uid. Left out: who runs this process. */
	user?: string | number | undefined;
	/** The user's own IDs stay what they are inside, and root moves to the subordinate ranges. */
	keepId?: boolean | undefined;
}

/**
 * Finds out what a user may map. Mappings are pure, and this is not: so it comes from outside (src/subid/), where the
 * package is put together.
 */
export type FindDelegation = (user: string | number | undefined) => Record<IdKind, Delegation>;

let find: FindDelegation | undefined;

export function setFindDelegation(finder: FindDelegation): void {
	find = finder;
}

export function findDelegation(user: string | number | undefined): Record<IdKind, Delegation> {
	if (find === undefined) throw new Error("userns: nothing looks up subordinate IDs");
	return find(user);
}

/**
 * The extents for one kind. Inside, 0 is the user and 1… are the subordinate ranges behind each other; with `keepId`
 * the user's own ID is itself, and the ranges fill the other IDs from 0 on.
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
			if (piece <= 0) return extents; // there are no container IDs left to give
			extents.push({ containerID: next, hostID: first + taken, size: piece });
			next += piece;
			taken += piece;
		}
	}
	return extents;
}

/**
 * The ranges without what an earlier one has already: a user's lines may overlap, and an ID is mapped only once. What is
 * taken is kept in order and in one piece where it touches, so that ten thousand lines are no matter.
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

/** Binary search: the index of the first range, of some in order, that ends at the ID or behind it. */
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
