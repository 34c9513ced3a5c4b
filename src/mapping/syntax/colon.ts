import { writeExtents } from "../canonical-text.ts";
import { type Extents, sameExtents } from "../extent.ts";
import { type IdOfName, noMaps, type ParsedMaps, Scanner, scanExtent, scanLetter } from "./scanner.ts";

const HINT =
	'Write "containerID:hostID:size", with "u:" or "g:" before it for one kind only, and "," between extents: 0:2100000000:65536.';

/** Parses `[u:|g:|b:]containerID:hostID:size[,…]`. `u:` maps user IDs, `g:` group IDs, and `b:` or no prefix both. */
export function parseColon(text: string, names?: IdOfName): ParsedMaps {
	const maps = noMaps();
	const scanner = new Scanner("colon", text, HINT, names);
	for (;;) {
		scanExtent(scanner, ":", maps, scanLetter(scanner));
		if (scanner.done) return maps;
		if (!scanner.take(",")) throw scanner.expected('"," or the end after size');
		scanner.extent++;
	}
}

/** Prints the canonical text, which is the id of a mapping: equal canonical lists give equal texts. */
export function printColon(uid: Extents, gid: Extents): string {
	return printLettered(uid, gid, ",", "");
}

/** Prints extents with the letter of their kind. `both` is the prefix of extents for both kinds. */
export function printLettered(uid: Extents, gid: Extents, separator: string, both: "" | "b:"): string {
	if (sameExtents(uid, gid)) return writeExtents(uid, both, ":", separator);
	const parts = [writeExtents(uid, "u:", ":", separator), writeExtents(gid, "g:", ":", separator)];
	return parts.filter((part) => part !== "").join(separator);
}
