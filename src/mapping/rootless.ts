import { invalidArgument, show, type UsernsError } from "../errors.ts";
import { copyOptions } from "../options.ts";
import { type IdKind, type IdMap, MAX_ID } from "./extent.ts";
import type { Mapping } from "./mapping.ts";

const WHAT = "Mapping.rootless";

/** A range of subordinate IDs, as in a line of /etc/subuid. */
export interface SubidRange {
	first: number;
	size: number;
}

/** The IDs that a user may map without privilege: the ID of the user, and the subordinate ranges in their order. */
export interface Delegation {
	/** Undefined for an owner without an account. */
	own: number | undefined;
	ranges: readonly SubidRange[];
}

/** For `Mapping.rootless`. */
export interface RootlessOptions {
	/**
	 * The login name or the uid of the user; by default the user of this process. An owner of ranges without an account, such as
	 * `containers`, has no own ID, so the ranges begin at container ID 0.
	 */
	user?: string | number | undefined;
	/**
	 * If true, the user's own IDs map to themselves, and container ID 0 is the first subordinate ID. With an object, the user has the
	 * container IDs `uid` and `gid`; one that is left out is the user's own ID. False by default.
	 */
	keepId?: boolean | { uid?: number | undefined; gid?: number | undefined } | undefined;
	/** At most so many IDs of each kind are mapped, the user's own ID included. All by default. */
	size?: number | undefined;
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

/** The result of `Mapping.bestFor`. */
export interface BestMapping {
	/** The caller can create a user namespace with it. */
	mapping: Mapping;
	/** The error of `Mapping.rootless` or of the creation, if the mapping has only the user's own IDs; otherwise undefined. */
	reason: UsernsError | undefined;
}

/** Finds the result of `Mapping.bestFor`. src/namespace/ has the implementation, because it creates a namespace. */
type FindBest = (user: string | number | undefined) => BestMapping;

let best: FindBest | undefined;

export function setFindBest(finder: FindBest): void {
	best = finder;
}

export function findBest(user: string | number | undefined): BestMapping {
	if (best === undefined) throw new Error("userns: no function creates user namespaces");
	return best(user);
}

/** The extents of both kinds for the options of `Mapping.rootless`. */
export function rootlessMaps(options: RootlessOptions | undefined): Record<IdKind, IdMap[]> {
	const { user, keepId, size } = copyOptions<RootlessOptions>(WHAT, options, ["user", "keepId", "size"]);
	const kept = readKeepId(keepId);
	if (size !== undefined) checkWhole("size", size, 1);
	const delegations = findDelegation(user);
	const extents = (kind: IdKind) => {
		const delegation = delegations[kind];
		const { own } = delegation;
		const inside = own === undefined ? undefined : kept === undefined ? 0 : (kept[kind] ?? own);
		return rootlessExtents(delegation, inside, size);
	};
	return { uid: extents("uid"), gid: extents("gid") };
}

/** The container IDs of the user; undefined without keepId. */
function readKeepId(
	keepId: RootlessOptions["keepId"],
): Partial<Record<IdKind, number | undefined>> | undefined {
	if (keepId === undefined || keepId === false) return undefined;
	if (keepId === true) return { uid: undefined, gid: undefined };
	if (typeof keepId !== "object" || keepId === null) {
		throw invalidArgument(`${WHAT}: keepId must be a boolean or an object {uid, gid}, not ${show(keepId)}`);
	}
	const { uid, gid } = copyOptions<typeof keepId>(`${WHAT}: keepId`, keepId, ["uid", "gid"]);
	for (const [name, id] of Object.entries({ uid, gid })) {
		if (id !== undefined) checkWhole(`keepId.${name}`, id, 0);
	}
	return { uid, gid };
}

function checkWhole(name: string, value: unknown, least: number): void {
	if (Number.isInteger(value) && (value as number) >= least && (value as number) <= MAX_ID) return;
	throw invalidArgument(
		`${WHAT}: ${name} must be a whole number from ${least} to ${MAX_ID}, not ${show(value)}`,
	);
}

/**
 * The extents of one kind. The user has the container ID `inside`, which is undefined for an owner without an account. The other
 * container IDs from 0 on are the subordinate ranges, one after the other, up to `size` IDs in total. These are podman's rules for
 * `--userns=keep-id:uid=,gid=,size=`.
 */
export function rootlessExtents(
	{ own, ranges }: Delegation,
	inside: number | undefined,
	size: number = MAX_ID + 1,
): IdMap[] {
	const extents: IdMap[] = [];
	if (own !== undefined && inside !== undefined) extents.push({ containerID: inside, hostID: own, size: 1 });
	let next = 0;
	let left = size - extents.length;
	const others =
		own === undefined ? disjoint(ranges) : disjoint([{ first: own, size: 1 }, ...ranges]).slice(1);
	for (const range of others) {
		let taken = 0;
		while (taken < range.size) {
			if (next === inside) next++;
			const room = inside !== undefined && next < inside ? inside - next : MAX_ID + 1 - next;
			const piece = Math.min(range.size - taken, room, left);
			if (piece <= 0) return extents; // all container IDs are mapped, or as many as are wanted
			extents.push({ containerID: next, hostID: range.first + taken, size: piece });
			next += piece;
			taken += piece;
			left -= piece;
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
