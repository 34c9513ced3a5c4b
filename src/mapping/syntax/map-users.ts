import { type Extents, type IdKind, showExtent } from "../extent.ts";
import { type IdOfName, noMaps, type ParsedMaps, Scanner, scanExtent } from "./scanner.ts";

const HINT =
	"Write --map-users=inside:outside:count and --map-groups=inside:outside:count, separated by blanks; each option may occur several times.";

const KINDS: Readonly<Record<"--map-users" | "--map-groups", readonly IdKind[]>> = {
	"--map-users": ["uid"],
	"--map-groups": ["gid"],
};
const OPTIONS = Object.keys(KINDS) as (keyof typeof KINDS)[];

/**
 * Parses the options --map-users and --map-groups of mount(8) and unshare(1). Before util-linux 2.39, unshare expected
 * `outside,inside,count`; with commas it still does. The words that unshare accepts in place of numbers, such as `auto`, depend on the
 * user and on the machine, and are errors.
 */
export function parseMapUsers(text: string, names?: IdOfName): ParsedMaps {
	const maps = noMaps();
	const scanner = new Scanner("map-users", text, HINT, names);
	scanner.skip(" ");
	for (;;) {
		const option = scanner.takeOne(OPTIONS);
		if (option === undefined) throw scanner.expected("--map-users or --map-groups");
		if (!scanner.take("=") && scanner.skip(" ") === 0)
			throw scanner.expected(`"=" or a blank after ${option}`);
		const separator = scanner.next(":, ") === "," ? "," : ":";
		scanExtent(scanner, separator, maps, KINDS[option], separator === ",");
		const blanks = scanner.skip(" ");
		if (scanner.done) return maps;
		if (blanks === 0) throw scanner.expected("a blank or the end after size");
		scanner.extent++;
	}
}

export function printMapUsers(uid: Extents, gid: Extents): string {
	const options = (name: string, extents: Extents) =>
		extents.map((extent) => `--map-${name}=${showExtent(extent)}`);
	return [...options("users", uid), ...options("groups", gid)].join(" ");
}
