import { type Extents, sameExtents } from "../extent.ts";
import { parseProcLines, procText } from "../proc.ts";
import type { ParsedMaps } from "./scanner.ts";

/**
 * Parses the lines of /proc/PID/uid_map and gid_map. Two texts are the two files. One text is for both kinds. If it has an empty
 * line, which the kernel accepts in neither file, the user IDs are before it and the group IDs after it.
 */
export function parseProcPair(texts: readonly string[]): ParsedMaps {
	const [first = "", second] = texts;
	if (second !== undefined) return { uid: parseProcLines("uid", first), gid: parseProcLines("gid", second) };
	const gap = /(^|\n)[ \t\r]*\n/.exec(first);
	if (gap === null) return { uid: parseProcLines("uid", first), gid: parseProcLines("gid", first) };
	return {
		uid: parseProcLines("uid", first.slice(0, gap.index)),
		gid: parseProcLines("gid", first.slice(gap.index + gap[0].length)),
	};
}

export function printProcPair(uid: Extents, gid: Extents): string {
	if (sameExtents(uid, gid)) return procText(uid);
	return `${procText(uid)}${uid.length > 0 ? "\n" : ""}\n${procText(gid)}`;
}
