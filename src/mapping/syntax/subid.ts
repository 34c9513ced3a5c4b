import { invalidMapping, show } from "../../errors.ts";
import { type Extents, type IdMap, sameExtents } from "../extent.ts";
import { type ParsedMaps, Scanner } from "./scanner.ts";

const HINT = 'Write lines "user:first:count", the user by name or number; see subuid(5).';

const UNREADABLE = "Remove the blanks and carriage returns around the entry.";

/** The login name and the uid of the user whose lines count. By default, all lines of the text must name one user. */
export interface SubidUser {
	name?: string | undefined;
	uid?: number | undefined;
}

/**
 * Parses the lines of /etc/subuid or /etc/subgid. The ranges of the user, in the order of the file, follow one another from
 * container ID 0 on, for both kinds. Empty lines and comments are ignored, and so are the lines of other users if a user is given: a
 * blank before a name belongs to the name. newuidmap(1) ignores a line with text behind the count, which is therefore an error.
 */
export function parseSubid(text: string, user: SubidUser | undefined): ParsedMaps {
	const extents: IdMap[] = [];
	const scanner = new Scanner("subid", text, HINT);
	let owner: string | undefined;
	let next = 0;
	for (; !scanner.done; scanner.take("\n")) {
		const start = scanner.at;
		const name = scanner.until(":\n");
		const isEmpty = name.trim() === "" && scanner.atLineEnd;
		const isOther = user !== undefined && name !== user.name && name !== String(user.uid);
		if (isEmpty || isOther || name.trimStart().startsWith("#")) {
			scanner.until("\n");
			continue;
		}
		if (name !== name.trimStart())
			throw scanner.wrong("a blank before the name makes it another name", start, UNREADABLE);
		if (name === "") throw scanner.expected("the user's name or number", start);
		scanner.expect(":", "the user");
		const hostID = scanner.number("the first ID");
		scanner.expect(":", "the first ID");
		const size = scanner.number("the count");
		const end = scanner.at;
		if (scanner.skip(" \t\r") > 0 && scanner.atLineEnd) {
			const what = text.charAt(end) === "\r" ? "a carriage return" : "a blank";
			throw scanner.wrong(`${what} after the count makes newuidmap ignore the line`, end, UNREADABLE);
		}
		if (!scanner.atLineEnd) throw scanner.expected("the end of the line", end);
		if (user === undefined) {
			owner ??= name;
			if (name !== owner) {
				throw scanner.wrong(
					`the lines are of two users, ${show(owner)} and ${show(name)}`,
					start,
					'Name the user whose lines apply: { user: { name: "alice" } }.',
				);
			}
		}
		if (size === 0) continue; // shadow accepts the line, which has no IDs
		extents.push(scanner.check({ containerID: next, hostID, size }, start));
		next += size;
		scanner.extent++;
	}
	return { uid: extents, gid: extents };
}

/** Prints lines. The file has no container IDs, so they must count from 0 without a gap and be equal for both kinds. */
export function printSubid(uid: Extents, gid: Extents, user: SubidUser | undefined): string {
	let next = 0;
	const fits = uid.every(({ containerID, size }) => {
		const follows = containerID === next;
		next += size;
		return follows;
	});
	if (!fits || !sameExtents(uid, gid)) {
		throw invalidMapping(
			"the subid syntax cannot express this mapping: its container IDs must start at 0, without a gap, and both kinds must have the same extents",
			"Print the mapping as colon.",
		);
	}
	const name = user?.name ?? user?.uid;
	if (name === undefined || `${name}` === "" || /[:\n]/.test(`${name}`)) {
		throw invalidMapping(
			"the subid syntax needs the user of the lines",
			'Give the user: { user: { name: "alice" } }.',
		);
	}
	return uid.map(({ hostID, size }) => `${name}:${hostID}:${size}`).join("\n");
}
