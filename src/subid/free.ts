import { readFileSync } from "node:fs";
import { type IdKind, MAX_ID } from "../mapping/extent.ts";
import type { SubidRange } from "../mapping/rootless.ts";
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

/** For a hint: the first ID of a range that can be assigned to a user, chosen as useradd(8) does. */
export function freeForUser(kind: IdKind): number {
	const from = minimumIn(loginDefs(), kind);
	return firstFree(grantedRanges(kind), from, SIZE) ?? from;
}

/** For a hint: a mapping to host IDs that neither /etc/subuid nor /etc/subgid assigns to a user. */
export function freeMapping(): string {
	const ranges = [...grantedRanges("uid"), ...grantedRanges("gid")];
	return `0:${firstFree(ranges, FOR_ROOT, SIZE) ?? FOR_ROOT}:${SIZE}`;
}
