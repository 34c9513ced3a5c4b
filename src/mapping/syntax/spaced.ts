import type { Extents } from "../extent.ts";
import { printLettered } from "./colon.ts";
import { type IdOfName, noMaps, type ParsedMaps, Scanner, scanExtent, scanLetter } from "./scanner.ts";

const MOUNT_HINT =
	'Write extents as "disk:visible:size", with "u:" or "g:" before it for one kind, separated by spaces.';

/** The option that may stand before each extent, and the hint. */
const LETTERED = {
	"mount-idmapped": {
		option: "--map-mount",
		hint: 'Write every extent as "b:disk:visible:size", with u or g instead of b for one kind only.',
	},
	lxc: {
		option: "-m",
		hint: 'Write every extent as "b:container:host:size", with u or g instead of b for one kind only.',
	},
} as const;

/** Steps over blanks and over `\040`, which is a blank in fstab(5). Returns true if there were any. */
function skipBlanks(scanner: Scanner): boolean {
	const start = scanner.at;
	while (scanner.skip(" ") > 0 || scanner.take("\\040"));
	return scanner.at > start;
}

/**
 * Parses the value of the mount option X-mount.idmap of mount(8), with or without `X-mount.idmap=` before it: extents separated by
 * blanks, each as in the `colon` syntax.
 * Text after an extent is an error, although util-linux ignores it, because a typing error would then map the wrong IDs.
 */
export function parseXMountIdmap(text: string, names?: IdOfName): ParsedMaps {
	const scanner = new Scanner("x-mount.idmap", text, MOUNT_HINT, names);
	scanner.take("X-mount.idmap=");
	if (text.startsWith("/", scanner.at)) {
		throw scanner.wrong(
			"the text is the path of a user namespace, not a mapping",
			scanner.at,
			"Read its mapping with UserNamespace.open(path).",
		);
	}
	const maps = noMaps();
	skipBlanks(scanner);
	for (;;) {
		scanExtent(scanner, ":", maps, scanLetter(scanner));
		const apart = skipBlanks(scanner);
		if (scanner.done) return maps;
		if (!apart) throw scanner.expected("a blank or the end after size");
		scanner.extent++;
	}
}

export function printXMountIdmap(uid: Extents, gid: Extents): string {
	return printLettered(uid, gid, " ", "");
}

/**
 * Parses extents `b|u|g:first:second:size` separated by blanks: the arguments of --map-mount of mount-idmapped, and those of
 * -m of lxc-usernsexec(1), which is the `lxc` syntax. The option may stand before each of them. The letter is required. `lxc.idmap`
 * of lxc.container.conf(5) has another form. `syntax` is the name in error messages.
 */
export function parseMountIdmapped(
	syntax: keyof typeof LETTERED,
	text: string,
	names?: IdOfName,
): ParsedMaps {
	const { option, hint } = LETTERED[syntax];
	const scanner = new Scanner(syntax, text, hint, names);
	const maps = noMaps();
	scanner.skip(" ");
	for (;;) {
		if (scanner.take(option) && scanner.skip(" ") === 0 && option !== "-m") scanner.expect("=", option);
		const kinds = scanLetter(scanner);
		if (kinds === undefined) throw scanner.expected('"b:", "u:" or "g:"');
		scanExtent(scanner, ":", maps, kinds);
		const blanks = scanner.skip(" ");
		if (scanner.done) return maps;
		if (blanks === 0) throw scanner.expected("a blank or the end after size");
		scanner.extent++;
	}
}

export function printMountIdmapped(uid: Extents, gid: Extents): string {
	return printLettered(uid, gid, " ", "b:");
}
