import { invalidMapping, show, type UsernsError } from "../../errors.ts";
import { type Extents, sameExtents } from "../extent.ts";
import { disjoint, type SubidRange } from "../rootless.ts";
import { readSubidLines } from "../subid-lines.ts";
import { valueError } from "../text-errors.ts";
import { type ParsedMaps, Scanner } from "./scanner.ts";

const HINT = 'Write lines "user:first:count", the user by name or number; see subuid(5).';

/** The login name and the uid of the user whose lines count. By default, all lines of the text must name one user. */
export interface SubidUser {
	name?: string | undefined;
	uid?: number | undefined;
}

/**
 * Parses the lines of /etc/subuid or /etc/subgid, as newuidmap(1) reads them. The ranges of the user, in the order of the file, follow
 * one another from container ID 0 on, for both kinds, and an ID of several lines counts once. Empty lines, comments and the lines of
 * other users are ignored. A line of the user that newuidmap ignores is an error, except that a count of 0 adds no ID. No ID at all is
 * an error.
 */
export function parseSubid(text: string, user: SubidUser | undefined): ParsedMaps {
	const scanner = new Scanner("subid", text, HINT);
	const ranges: SubidRange[] = [];
	let owner: string | undefined;
	let empty: UsernsError | undefined;
	let start = 0;
	let number = 1;
	for (const line of readSubidLines(text)) {
		for (; number < line.number; number++) start = text.indexOf("\n", start) + 1;
		if (user === undefined) {
			if (line.text.trim() === "" || line.owner.startsWith("#")) continue;
			owner ??= line.owner;
			if (line.owner !== owner && line.flaw === undefined) {
				throw scanner.wrong(
					`the lines are of two users, ${show(owner)} and ${show(line.owner)}`,
					start,
					'Name the user whose lines apply: { user: { name: "alice" } }.',
				);
			}
		} else if (line.owner !== user.name && line.owner !== String(user.uid)) continue;
		if (line.range !== undefined) ranges.push(line.range);
		else {
			const error = scanner.wrong(`the line ${line.flaw}, so newuidmap ignores it`, start);
			if (!line.isEmpty) throw error;
			empty ??= error;
		}
		scanner.extent++;
	}
	if (ranges.length === 0) throw empty ?? noLines(user);
	let next = 0;
	const extents = disjoint(ranges).map(({ first, size }) => {
		const extent = { containerID: next, hostID: first, size };
		next += size;
		return extent;
	});
	return { uid: extents, gid: extents.map((extent) => ({ ...extent })) };
}

function noLines(user: SubidUser | undefined): UsernsError {
	const names = [user?.name, user?.uid].filter((each) => each !== undefined).map(show);
	return valueError(
		`subid text: no line is of ${user === undefined ? "a user" : `the user ${names.join(" or ")}`}`,
		HINT,
	);
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
