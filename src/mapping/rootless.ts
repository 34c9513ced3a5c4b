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

/** The ranges without what an earlier one has already: a user's lines may overlap, and an ID is mapped only once. */
export function disjoint(ranges: readonly SubidRange[]): SubidRange[] {
	const kept: SubidRange[] = [];
	for (const range of ranges) {
		let pieces: SubidRange[] = [range];
		for (const taken of kept) pieces = pieces.flatMap((piece) => without(piece, taken));
		kept.push(...pieces);
	}
	return kept;
}

function without(range: SubidRange, taken: SubidRange): SubidRange[] {
	const end = range.first + range.size;
	const pieces = [
		{ first: range.first, end: Math.min(end, taken.first) },
		{ first: Math.max(range.first, taken.first + taken.size), end },
	];
	return pieces
		.filter((piece) => piece.first < piece.end)
		.map((piece) => ({ first: piece.first, size: piece.end - piece.first }));
}
