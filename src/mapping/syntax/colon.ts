import { type Extents, sameExtents, showExtent } from "../extent.ts";
import { addExtent, BOTH, KINDS_OF_LETTER, noMaps, type ParsedMaps, Scanner, scanTriple } from "./scanner.ts";

const HINT =
	'Write "containerID:hostID:size", with "u:" or "g:" before it for one kind only, and "," between extents: 0:2100000000:65536.';

const LETTERS = ["u:", "g:", "b:"] as const;

/** `[u:|g:|b:]containerID:hostID:size[,…]`: `u:` maps user IDs, `g:` group IDs, `b:` or no prefix both. */
export function parseColon(text: string): ParsedMaps {
	const maps = noMaps();
	const scanner = new Scanner("colon", text, HINT);
	for (;;) {
		const letter = scanner.atDigit ? undefined : scanner.takeOne(LETTERS);
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
	if (sameExtents(uid, gid)) return printList(uid, separator, both);
	const parts = [printList(uid, separator, "u:"), printList(gid, separator, "g:")];
	return parts.filter((part) => part !== "").join(separator);
}

function printList(extents: Extents, separator: string, letter: string): string {
	let text = "";
	for (const extent of extents) text += `${text === "" ? "" : separator}${letter}${showExtent(extent)}`;
	return text;
}
