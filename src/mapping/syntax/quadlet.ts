import type { Extents, IdKind } from "../extent.ts";
import { type Entry, type PodmanParent, printEntries, readValue, resolveEntries } from "./podman.ts";
import { type ParsedMaps, Scanner } from "./scanner.ts";

const HINT =
	"Write lines UIDMap=[+ug]container:[@]from[:amount] and GIDMap=… likewise. For a file with other lines, set { skipOtherLines: true }.";

const KINDS: Readonly<Record<string, IdKind>> = { UIDMap: "uid", GIDMap: "gid" };

/**
 * Parses the lines UIDMap= and GIDMap= of podman-systemd.unit(5), which podman passes on as --uidmap and --gidmap. A line without a value
 * removes those of its key before it. Empty lines and comments are skipped, and with `skipOthers` the other lines.
 */
export function parseQuadlet(
	text: string,
	parent: PodmanParent | undefined,
	skipOthers: boolean,
): ParsedMaps {
	let entries: Entry[] = [];
	let lines = 0;
	const scanner = new Scanner("quadlet", text, HINT);
	while (scanner.nextLine("#;")) {
		const start = scanner.at;
		const key = scanner.until("= \t\r\n");
		const kind = Object.hasOwn(KINDS, key) ? KINDS[key] : undefined;
		if (kind === undefined) {
			if (!skipOthers) throw scanner.expected("UIDMap= or GIDMap=", start);
			// A backslash at the end of a line continues it.
			while (scanner.until("\n").trimEnd().endsWith("\\") && scanner.take("\n"));
			continue;
		}
		lines++;
		scanner.skip(" \t");
		scanner.expect("=", key);
		scanner.skip(" \t");
		if (scanner.atLineEnd) entries = entries.filter(({ option }) => option !== kind);
		else readValue(scanner, kind, entries);
		scanner.endLine();
	}
	if (lines === 0) throw scanner.expected("a line UIDMap= or GIDMap=");
	return resolveEntries("quadlet", entries, parent);
}

export function printQuadlet(uid: Extents, gid: Extents): string {
	return printEntries(uid, gid, { uid: "UIDMap=", gid: "GIDMap=" }, "\n");
}
