import type { Extents } from "../extent.ts";
import { printLettered } from "./colon.ts";
import { addExtent, BOTH, KINDS_OF_LETTER, noMaps, type ParsedMaps, Scanner, scanTriple } from "./scanner.ts";

const MOUNT_HINT =
	'Write extents as "disk:visible:size", with "u:" or "g:" before it for one kind, separated by spaces.';
const LETTER_HINT =
	'Write every extent as "b:disk:visible:size", with u or g instead of b for one kind only.';

/** Steps over blanks, and over what fstab(5) writes for one; whether there were any. */
function skipBlanks(scanner: Scanner): boolean {
	const start = scanner.at;
	while (scanner.skip(" ") > 0 || scanner.take("\\040"));
	return scanner.at > start;
}

/**
 * The value of the mount option X-mount.idmap of mount(8): extents separated by blanks, as in the colon syntax
 * otherwise. util-linux tolerates junk behind an extent; that is how a typing error maps the wrong IDs.
 */
export function parseXMountIdmap(text: string): ParsedMaps {
	const scanner = new Scanner("x-mount.idmap", text, MOUNT_HINT);
	if (text.startsWith("/")) {
		throw scanner.wrong(
			"this is the path of a user namespace, not a mapping",
			0,
			"Open it with UserNamespace.open and ask it for its mapping().",
		);
	}
	const maps = noMaps();
	skipBlanks(scanner);
	for (;;) {
		const letter = scanner.takeOne(["u:", "g:", "b:"]);
		const kinds = letter === undefined ? BOTH : KINDS_OF_LETTER[letter[0] as "u" | "g" | "b"];
		addExtent(maps, kinds, scanTriple(scanner, ":"));
		const apart = skipBlanks(scanner);
		if (scanner.done) return maps;
		if (!apart) throw scanner.expected("a blank or the end behind size");
		scanner.extent++;
	}
}

export function printXMountIdmap(uid: Extents, gid: Extents): string {
	return printLettered(uid, gid, " ", "");
}

/**
 * The arguments of mount-idmapped's --map-mount and of lxc-usernsexec's -m: `b|u|g:first:second:size`, the letter
 * always there, several separated by blanks. `syntax` is the name under which the reader knows it.
 */
export function parseMountIdmapped(syntax: "mount-idmapped" | "lxc", text: string): ParsedMaps {
	const scanner = new Scanner(syntax, text, LETTER_HINT);
	const maps = noMaps();
	scanner.skip(" ");
	for (;;) {
		const letter = scanner.takeOne(["u:", "g:", "b:"]);
		if (letter === undefined) throw scanner.expected('"b:", "u:" or "g:"');
		addExtent(maps, KINDS_OF_LETTER[letter[0] as "u" | "g" | "b"], scanTriple(scanner, ":"));
		const blanks = scanner.skip(" ");
		if (scanner.done) return maps;
		if (blanks === 0) throw scanner.expected("a blank or the end behind size");
		scanner.extent++;
	}
}

export function printMountIdmapped(uid: Extents, gid: Extents): string {
	return printLettered(uid, gid, " ", "b:");
}
