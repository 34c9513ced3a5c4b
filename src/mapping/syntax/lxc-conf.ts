import { type Extents, type IdKind, showExtent } from "../extent.ts";
import { type IdOfName, noMaps, type ParsedMaps, Scanner, scanExtent } from "./scanner.ts";

const HINT =
	'Write lines "lxc.idmap = u CONTAINER HOST COUNT", with g instead of u for group IDs. For a file with other settings, set { skipOtherLines: true }.';

const KINDS: Readonly<Record<"u" | "g", readonly IdKind[]>> = { u: ["uid"], g: ["gid"] };

/**
 * Parses the lines `lxc.idmap` of lxc.container.conf(5), with `=`, and of Proxmox VE, with `:`. `lxc.id_map` is the name before LXC 3.
 * A line without a value removes those before it, as in LXC. Empty lines and comments are skipped, and with `skipOthers` the lines of
 * other settings. Then a line in brackets ends the text, because it begins the settings of a snapshot in a file of Proxmox VE.
 */
export function parseLxcConf(text: string, skipOthers: boolean, names?: IdOfName): ParsedMaps {
	let maps = noMaps();
	let lines = 0;
	const scanner = new Scanner("lxc.conf", text, HINT, names);
	const separate = (after: string) => scanner.blank(after);
	while (scanner.nextLine()) {
		const start = scanner.at;
		const key = scanner.until("=: \t\r\n");
		if (key !== "lxc.idmap" && key !== "lxc.id_map") {
			if (!skipOthers) throw scanner.expected("lxc.idmap", start);
			if (key.startsWith("[")) break;
			scanner.until("\n");
			continue;
		}
		lines++;
		scanner.skip(" \t");
		if (scanner.takeOne(["=", ":"]) === undefined) throw scanner.expected(`"=" or ":" after ${key}`);
		scanner.skip(" \t");
		if (scanner.atLineEnd) maps = noMaps();
		else {
			const letter = scanner.takeOne(["u", "g"]);
			if (letter === undefined) throw scanner.expected("u or g");
			scanner.blank(letter);
			scanExtent(scanner, separate, maps, KINDS[letter]);
			scanner.extent++;
		}
		scanner.endLine();
	}
	if (lines === 0) throw scanner.expected("a line lxc.idmap");
	return maps;
}

export function printLxcConf(uid: Extents, gid: Extents): string {
	const line =
		(letter: string) => (extent: Readonly<{ containerID: number; hostID: number; size: number }>) =>
			`lxc.idmap = ${letter} ${showExtent(extent).replaceAll(":", " ")}`;
	return [...uid.map(line("u")), ...gid.map(line("g"))].join("\n");
}
