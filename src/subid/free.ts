import { readFileSync } from "node:fs";
import { type IdKind, type IdMap, MAX_ID } from "../mapping/extent.ts";
import type { SubidRange } from "../mapping/rootless.ts";
import { ownExtents } from "./own-extents.ts";
import { grantedRanges } from "./ranges.ts";

const SIZE = 65536;
/** The first host ID in the examples for root. docs/mapping.md gives the reasons for the number. */
const FOR_ROOT = 2_100_000_000;
/** The default of SUB_UID_MIN and SUB_GID_MIN; see login.defs(5). */
const FOR_USERS = 100_000;

/** Finds the first of `size` IDs, at `from` or later, that are in none of the ranges. Returns undefined if there are none. */
export function firstFree(ranges: readonly SubidRange[], from: number, size: number): number | undefined {
	let free = from;
	for (const { first, size: taken } of [...ranges].sort((a, b) => a.first - b.first)) {
		if (first >= free + size) break;
		free = Math.max(free, first + taken);
	}
	return free + size - 1 <= MAX_ID ? free : undefined;
}

/** Reads SUB_UID_MIN or SUB_GID_MIN from the text of /etc/login.defs. */
export function minimumIn(text: string, kind: IdKind): number {
	const found = new RegExp(`^[ \\t]*SUB_${kind.toUpperCase()}_MIN[ \\t]+(\\d{1,10})[ \\t]*$`, "m").exec(
		text,
	)?.[1];
	return found === undefined ? FOR_USERS : Number(found);
}

function loginDefs(): string {
	try {
		return readFileSync("/etc/login.defs", "utf8");
	} catch {
		return "";
	}
}

/**
 * For a hint: a range "FIRST:COUNT" that can be assigned to a user, chosen as useradd(8) does. In a user namespace, it is a range that
 * exists there, and may be smaller; undefined if there is none.
 */
export function freeForUser(kind: IdKind, own: number | undefined): string | undefined {
	const taken = grantedRanges(kind);
	const from = minimumIn(loginDefs(), kind);
	const within = ownExtents(kind);
	if (within === undefined) return `${firstFree(taken, from, SIZE) ?? from}:${SIZE}`;
	taken.push(...missing(within));
	const first = firstFree(taken, from, SIZE);
	if (first !== undefined) return `${first}:${SIZE}`;
	if (own !== undefined) taken.push({ first: own, size: 1 });
	for (let size = SIZE; size > 1; size /= 2) {
		const smaller = firstFree(taken, 1, size);
		if (smaller !== undefined) return `${smaller}:${size}`;
	}
	return undefined;
}

/** The ranges of IDs that do not exist in a user namespace with these extents, which are sorted. */
function missing(within: readonly IdMap[]): SubidRange[] {
	let next = 0;
	const gaps = [...within, { containerID: MAX_ID + 1, size: 0 }].map(({ containerID, size }) => {
		const gap = { first: next, size: containerID - next };
		next = containerID + size;
		return gap;
	});
	return gaps.filter(({ size }) => size > 0);
}

/** For a hint: a mapping to host IDs that neither /etc/subuid nor /etc/subgid assigns to a user. */
export function freeMapping(): string {
	const ranges = [...grantedRanges("uid"), ...grantedRanges("gid")];
	return `0:${firstFree(ranges, FOR_ROOT, SIZE) ?? FOR_ROOT}:${SIZE}`;
}
