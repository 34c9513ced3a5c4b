import { canonical, type Extents, type IdMap, sameExtents } from "../extent.ts";
import { parseProcLines, procText } from "../proc.ts";
import { checkedAs, valueError } from "../text-errors.ts";
import type { ParsedMaps } from "./scanner.ts";

/**
 * Parses the lines of /proc/PID/uid_map and gid_map. Two texts are the two files. One text is for both kinds. If it has an empty
 * line, which the kernel accepts in neither file, the user IDs are before it and the group IDs after it. Lines that overlap are both
 * files if their columns show that the kernel wrote them, and if only one of them can be the first line of gid_map.
 */
export function parseProcPair(texts: readonly string[]): ParsedMaps {
	const [first = "", second] = texts;
	if (second !== undefined) return { uid: parseProcLines("uid", first), gid: parseProcLines("gid", second) };
	const gap = /(^|\n)[ \t\r]*\n/.exec(first);
	if (gap !== null) {
		return {
			uid: parseProcLines("uid", first.slice(0, gap.index)),
			gid: parseProcLines("gid", first.slice(gap.index + gap[0].length)),
		};
	}
	const extents = parseProcLines("uid", first);
	const start = firstOfSecondFile(first, extents);
	if (start === undefined) return { uid: extents, gid: extents };
	return { uid: extents.slice(0, start), gid: extents.slice(start) };
}

/** A line as the kernel writes it: three columns of ten characters, aligned on the right. A copied text may lack the first blanks. */
const KERNEL_LINE = /^(?=.{32}$)[ \d]{9}\d [ \d]{9}\d [ \d]{9}\d$/;

/** Undefined if the lines do not overlap. Throws if they overlap and are not clearly two files. */
function firstOfSecondFile(text: string, extents: readonly IdMap[]): number | undefined {
	const whole = overlapIn(extents);
	if (whole === undefined) return undefined;
	const lines = text.trimEnd().split("\n");
	if (lines.every((line, i) => KERNEL_LINE.test(i === 0 ? line.padStart(32) : line))) {
		// A part of a list without an overlap has none. Only one start is possible if the longest such parts at both ends meet there.
		const last = longestWithout(extents);
		const first = extents.length - longestWithout([...extents].reverse());
		if (first === last) return first;
	}
	throw valueError(
		whole.message,
		"Give every ID at most once in each column. If the text is uid_map and then gid_map, put an empty line between them.",
	);
}

function overlapIn(extents: readonly IdMap[]): Error | undefined {
	try {
		checkedAs("proc", () => canonical("uid", extents));
		return undefined;
	} catch (error) {
		return error as Error;
	}
}

/** The number of the first extents that do not overlap, by binary search. */
function longestWithout(extents: readonly IdMap[]): number {
	let low = 1;
	let high = extents.length - 1; // all of them overlap
	while (low < high) {
		const middle = (low + high + 1) >>> 1;
		if (overlapIn(extents.slice(0, middle)) === undefined) low = middle;
		else high = middle - 1;
	}
	return low;
}

export function printProcPair(uid: Extents, gid: Extents): string {
	if (sameExtents(uid, gid)) return procText(uid);
	return `${procText(uid)}${uid.length > 0 ? "\n" : ""}\n${procText(gid)}`;
}
