import { type Extents, type IdKind, type IdMap, sameExtents } from "../extent.ts";
import { addExtent, BOTH, noMaps, type ParsedMaps, Scanner } from "./scanner.ts";

const HINT =
	'Write lines "both HOST[-END] CONTAINER[-END]", the host first; uid or gid instead of both for one kind.';
const KINDS: Record<"both" | "uid" | "gid", readonly IdKind[]> = { both: BOTH, uid: ["uid"], gid: ["gid"] };

/** Reads a number or an inclusive range. */
function scanRange(scanner: Scanner, name: string): { first: number; size: number } {
	const start = scanner.at;
	const first = scanner.number(name);
	if (!scanner.take("-")) return { first, size: 1 };
	const last = scanner.number(`the last ${name}`);
	if (last < first) throw scanner.wrong(`the range ${first}-${last} ends before it starts`, start);
	return { first, size: last - first + 1 };
}

/** Parses the lines of raw.idmap of Incus and LXD: the host IDs come first, and a range has its last ID. */
export function parseIncus(text: string): ParsedMaps {
	const maps = noMaps();
	const scanner = new Scanner("incus", text, HINT);
	while (scanner.nextLine("")) {
		const start = scanner.at;
		const word = scanner.takeOne(["both", "uid", "gid"]);
		if (word === undefined) throw scanner.expected("both, uid or gid");
		scanner.blank(word);
		const host = scanRange(scanner, "host ID");
		scanner.blank("the host's IDs");
		const at = scanner.at;
		const container = scanRange(scanner, "container ID");
		if (host.size !== container.size) {
			throw scanner.wrong(`${host.size} IDs of the host, but ${container.size} of the container`, at);
		}
		const extent = { containerID: container.first, hostID: host.first, size: host.size };
		addExtent(maps, KINDS[word], scanner.check(extent, start));
		scanner.endLine();
		scanner.extent++;
	}
	return maps;
}

function printRange(first: number, size: number): string {
	return size === 1 ? `${first}` : `${first}-${first + size - 1}`;
}

export function printIncus(uid: Extents, gid: Extents): string {
	const line = (word: string) => (extent: Readonly<IdMap>) =>
		`${word} ${printRange(extent.hostID, extent.size)} ${printRange(extent.containerID, extent.size)}`;
	if (sameExtents(uid, gid)) return uid.map(line("both")).join("\n");
	return [...uid.map(line("uid")), ...gid.map(line("gid"))].join("\n");
}
