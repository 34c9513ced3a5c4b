import { invalidMapping, show } from "../../errors.ts";
import { type Extents, type IdKind, type IdMap, sameExtents, showExtent } from "../extent.ts";
import { type IdOfName, noMaps, type ParsedMaps, Scanner, scanExtent } from "./scanner.ts";

const HINT =
	'Write "inside outside count" any number of times on one line, or one line for each of "newuidmap PID …" and "newgidmap PID …".';

const PROGRAMS: Readonly<Record<"newuidmap" | "newgidmap", IdKind>> = { newuidmap: "uid", newgidmap: "gid" };
const NAMES = Object.keys(PROGRAMS) as (keyof typeof PROGRAMS)[];

/** A process number, `fd:` with a descriptor, or a variable of the shell, as printNewuidmap() writes it. */
const PROCESS = /^(?:[1-9]\d{0,9}|fd:\d{1,10}|\$\w{1,64})$/;

/**
 * Parses the arguments of newuidmap(1): one line of extents for both kinds, or the commands newuidmap and newgidmap with the process, each
 * on a line for its kind. A list of texts is a list of words, or of such lines. A line without a command has no line before or after it,
 * because the lines of uid_map and gid_map have another meaning.
 */
export function parseNewuidmap(texts: readonly string[], names?: IdOfName): ParsedMaps {
	const isCommand = (text: string | undefined) => NAMES.some((name) => text?.startsWith(name));
	const isWords = texts.length > 1 && !isCommand(texts[1]);
	const wrong = isWords ? texts.find((text) => /\s/.test(text)) : undefined;
	if (wrong !== undefined)
		throw invalidMapping(`newuidmap text: expected one word, found ${show(wrong)}`, HINT);
	const text = texts.join(isWords ? " " : "\n");
	const maps = noMaps();
	const scanner = new Scanner("newuidmap", text, HINT, names);
	if (!isCommand(text.trimStart())) {
		scanner.skip(" \t");
		scanExtents(scanner, maps, undefined);
		scanner.endLine();
		if (!scanner.done) throw scanner.expected("the end after one line");
		return maps;
	}
	const found = new Set<string>();
	while (scanner.nextLine("")) {
		const start = scanner.at;
		const program = scanner.takeOne(NAMES);
		if (program === undefined) throw scanner.expected(NAMES.join(" or "));
		if (found.has(program)) throw scanner.wrong(`${program} occurs twice`, start);
		found.add(program);
		scanner.blank(program);
		const at = scanner.at;
		if (!PROCESS.test(scanner.until(" \t\r\n"))) throw scanner.expected("the process", at);
		scanner.blank("the process");
		scanExtents(scanner, maps, [PROGRAMS[program]]);
		scanner.endLine();
	}
	return maps;
}

/** Reads the extents of one line. */
function scanExtents(scanner: Scanner, maps: ParsedMaps, kinds: readonly IdKind[] | undefined): void {
	const separate = (after: string) => scanner.blank(after);
	do {
		scanExtent(scanner, separate, maps, kinds);
		scanner.extent++;
		if (scanner.skip(" \t") === 0 && !scanner.atLineEnd)
			throw scanner.expected("a blank or the end after size");
	} while (!scanner.atLineEnd);
}

/** Prints one line for both kinds if they are equal, and otherwise a command for each kind, for the process in the variable `pid`. */
export function printNewuidmap(uid: Extents, gid: Extents): string {
	const words = (extents: Extents) =>
		extents.map((extent: Readonly<IdMap>) => showExtent(extent).replaceAll(":", " ")).join(" ");
	if (sameExtents(uid, gid)) return words(uid);
	const line = (program: string, extents: Extents) =>
		extents.length === 0 ? [] : [`${program} $pid ${words(extents)}`];
	return [...line("newuidmap", uid), ...line("newgidmap", gid)].join("\n");
}
