import { invalidMapping, show } from "../../errors.ts";
import { type Extents, type IdMap, sameExtents } from "../extent.ts";
import { type ParsedMaps, Scanner } from "./scanner.ts";

const HINT = 'Write lines "user:first:count", the user by name or number; see subuid(5).';

/** Whose lines count: the login name and the number of the user. Left out: the text must be about one user. */
export interface SubidUser {
	name?: string | undefined;
	uid?: number | undefined;
}

/**
 * The lines of /etc/subuid or /etc/subgid. All ranges of the user, in the order of the file, are put behind each
 * other from container ID 0 on, and serve both kinds. Empty lines and those that begin with # are passed over.
 */
export function parseSubid(text: string, user: SubidUser | undefined): ParsedMaps {
	const extents: IdMap[] = [];
	const scanner = new Scanner("subid", text, HINT);
	let owner: string | undefined;
	let next = 0;
	while (!scanner.done) {
		if (scanner.skip(" \t\r") >= 0 && scanner.take("\n")) continue;
		if (scanner.done) break;
		if (scanner.take("#")) {
			scanner.until("\n");
			continue;
		}
		const start = scanner.at;
		const name = scanner.until(":\n");
		if (name === "") throw scanner.expected("the user's name or number", start);
		scanner.expect(":", "the user");
		const hostID = scanner.number("the first ID");
		scanner.expect(":", "the first ID");
		const size = scanner.number("the count");
		scanner.skip(" \t\r");
		if (!scanner.done && !scanner.take("\n")) throw scanner.expected("the end of the line");
		if (user === undefined) {
			owner ??= name;
			if (name !== owner) {
				throw scanner.wrong(
					`a second user, ${show(name)}, behind ${show(owner)}`,
					start,
					"Say whose lines are meant.",
				);
			}
		} else if (name !== user.name && name !== String(user.uid)) continue;
		if (size === 0) continue; // shadow takes such a line and gives nothing for it
		extents.push(scanner.check({ containerID: next, hostID, size }, start));
		next += size;
		scanner.extent++;
	}
	return { uid: extents, gid: extents.map((extent) => ({ ...extent })) };
}

/** The file says nothing of container IDs, so only a mapping from 0 on without a gap, the same for both, fits. */
export function printSubid(uid: Extents, gid: Extents, user: SubidUser | undefined): string {
	let next = 0;
	const fits = uid.every(({ containerID, size }) => {
		const follows = containerID === next;
		next += size;
		return follows;
	});
	if (!fits || !sameExtents(uid, gid)) {
		throw invalidMapping(
			"the subid syntax cannot express this mapping: it has no container IDs, so they must count from 0 without a gap, the same for both kinds",
			"Print it as colon instead.",
		);
	}
	const name = user?.name ?? user?.uid;
	if (name === undefined || `${name}` === "" || /[:\n]/.test(`${name}`)) {
		throw invalidMapping("the subid syntax needs the user that the lines are for", "Give {user: {name: …}}.");
	}
	return uid.map(({ hostID, size }) => `${name}:${hostID}:${size}`).join("\n");
}
