import { type Extents, sameExtents, showExtent } from "../extent.ts";
import { addExtent, BOTH, KINDS_OF_LETTER, noMaps, type ParsedMaps, Scanner, scanTriple } from "./scanner.ts";

const HINT =
	'Write "containerID:hostID:size", with "u:" or "g:" before it for one kind only, and "," between extents: 0:100000:65536.';

/** `[u:|g:|b:]containerID:hostID:size[,…]`: `u:` maps user IDs, `g:` group IDs, `b:` or no prefix both. */
export function parseColon(text: string): ParsedMaps {
	const maps = noMaps();
	const scanner = new Scanner("colon", text, HINT);
	for (;;) {
		const letter = scanner.takeOne(["u:", "g:", "b:"]);
		const kinds = letter === undefined ? BOTH : KINDS_OF_LETTER[letter[0] as "u" | "g" | "b"];
		addExtent(maps, kinds, scanTriple(scanner, ":"));
		if (scanner.done) return maps;
		if (!scanner.take(",")) throw scanner.expected('"," or the end behind size');
		scanner.extent++;
	}
}

/** Equal canonical lists always print equal texts, which is what an identity is made of. */
export function printColon(uid: Extents, gid: Extents): string {
	return printLettered(uid, gid, ",", "");
}

/** Extents with a letter for their kind; `both` is what stands before those that are for both. */
export function printLettered(uid: Extents, gid: Extents, separator: string, both: string): string {
	if (sameExtents(uid, gid)) return uid.map((extent) => both + showExtent(extent)).join(separator);
	return [
		...uid.map((extent) => `u:${showExtent(extent)}`),
		...gid.map((extent) => `g:${showExtent(extent)}`),
	].join(separator);
}
