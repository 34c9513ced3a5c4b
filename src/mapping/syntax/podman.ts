import { invalidMapping, show, type UsernsError } from "../../errors.ts";
import { clear, count, invert } from "../algebra.ts";
import {
	byHost,
	canonical,
	type Extents,
	type IdKind,
	type IdMap,
	sameExtents,
	showExtent,
} from "../extent.ts";
import { checkedAs, readUpTo } from "../text-errors.ts";
import { BOTH, type ParsedMaps, Scanner } from "./scanner.ts";

const HINT =
	"Write --uidmap=[+ug]container:[@]from[:amount] and --gidmap=… likewise; a value without an option name is a --uidmap.";

/** The mapping of the namespace in which podman creates that of the container: the IDs that are delegated to the user. */
export interface PodmanParent {
	uid: Extents;
	gid: Extents;
	/** True if podman runs without root. A first entry with + then extends the delegated IDs. */
	rootless: boolean;
}

/** A triple of an option, or of the line of a Quadlet file. */
export interface Entry {
	/** The option that has the entry. */
	option: IdKind;
	kinds: readonly IdKind[];
	extend: boolean;
	ofHost: boolean;
	extent: IdMap;
}

/**
 * Parses the values of --uidmap and --gidmap of podman-run(1), in the order of the command line: `[+ug]*container:[@]from[:amount]`,
 * with several triples joined by `:`.
 *
 * `amount` is 1 by default, and an entry of amount 0 is ignored. `@from` is a host ID, which is looked up in the delegated IDs. `+`
 * removes the IDs that conflict with the entry from the entries before it. If the first entry has `+` and podman runs without root,
 * the unmapped container IDs from 0 on get the unused delegated IDs. If only one option is given, it is for both kinds, except for
 * entries with the flag u or g.
 */
export function parsePodman(args: readonly string[], parent: PodmanParent | undefined): ParsedMaps {
	return resolveEntries("podman", readArguments(args), parent);
}

/** The extents that podman makes of entries. The errors are about a meaning, because the form of the entries is right. */
export function resolveEntries(
	syntax: string,
	entries: readonly Entry[],
	parent: PodmanParent | undefined,
): ParsedMaps {
	return checkedAs(syntax, () => {
		refuseStray(entries);
		return combine(entries, parent);
	});
}

function combine(entries: readonly Entry[], parent: PodmanParent | undefined): ParsedMaps {
	const options = new Set(entries.map(({ option }) => option));
	const resolved = (kind: IdKind) => {
		const own = entries.filter((entry) => {
			const asked = options.size === 1 || entry.option === kind;
			return asked && entry.kinds.includes(kind);
		});
		return [...resolve(kind, own, parent)].map((extent) => ({ ...extent }));
	};
	return { uid: resolved("uid"), gid: resolved("gid") };
}

/** `--uidmap=VALUE`, `--uidmap VALUE`, or VALUE alone. */
function readArguments(args: readonly string[]): Entry[] {
	const entries: Entry[] = [];
	let option: IdKind = "uid";
	let named = false;
	for (const word of args) {
		const match = /^--([ug]id)map(=|$)/.exec(word);
		if (match !== null) {
			if (named) throw wrongForm(`expected a value, found ${show(word)}`, args);
			option = match[1] as IdKind;
			named = match[2] === "";
			if (named) continue;
		} else if (!named) option = "uid";
		const scanner = new Scanner("podman", match === null ? word : word.slice(match[0].length), HINT);
		scanner.extent = entries.length + 1;
		readValue(scanner, option, entries);
		if (!scanner.done) throw scanner.expected("the end of the value");
		named = false;
	}
	if (named) throw wrongForm("the last option has no value", args);
	return entries;
}

function wrongForm(message: string, args: readonly string[]): UsernsError {
	return readUpTo(invalidMapping(`podman text: ${message}`, HINT), args.join(" ").length);
}

function refuseStray(entries: readonly Entry[]): void {
	const both = new Set(entries.map((entry) => entry.option)).size === 2;
	const stray = entries.find((entry) => !entry.kinds.includes(entry.option));
	if (both && stray !== undefined) {
		const other = stray.option === "uid" ? "gid" : "uid";
		throw invalidMapping(
			`the entry ${showExtent(stray.extent)} of --${stray.option}map has the flag of the other kind of ID`,
			`Move the entry to --${other}map.`,
		);
	}
}

/** Reads the triples of one value, up to a blank or the end. */
export function readValue(scanner: Scanner, option: IdKind, entries: Entry[]): void {
	for (;;) {
		const start = scanner.at;
		const flags = readFlags(scanner);
		const containerID = scanner.number("the container ID");
		scanner.expect(":", "the container ID");
		const ofHost = scanner.take("@");
		const hostID = scanner.number("the ID that it is mapped from");
		const size = scanner.take(":") ? scanner.number("the amount") : 1;
		const extent = { containerID, hostID, size };
		if (size > 0) entries.push({ option, ...flags, ofHost, extent: scanner.check(extent, start) });
		if (scanner.atWordEnd) return;
		scanner.expect(":", "the amount");
		scanner.extent++;
	}
}

function readFlags(scanner: Scanner): { kinds: readonly IdKind[]; extend: boolean } {
	const flags = new Set<string>();
	for (;;) {
		const flag = scanner.takeOne(["+", "u", "g"]);
		if (flag === undefined) break;
		flags.add(flag);
	}
	const kinds = BOTH.filter((kind) => flags.has(kind[0] as string));
	return { kinds: kinds.length === 0 ? BOTH : kinds, extend: flags.has("+") };
}

/** Limits the entries with +, because each of them reads all entries before it. */
const MOST_EXTENDING = 1000;

function resolve(kind: IdKind, entries: readonly Entry[], parent: PodmanParent | undefined): Extents {
	const onHost = parent === undefined ? undefined : invert(parent[kind]);
	let result: IdMap[] = [];
	let extending = 0;
	for (const { ofHost, extend, extent } of entries) {
		const pieces = ofHost ? delegated(kind, extent, onHost) : [extent];
		if (extend) {
			extending++;
			if (extending > MOST_EXTENDING) {
				throw invalidMapping(
					`more than ${MOST_EXTENDING} entries with +`,
					"Write the resulting extents instead.",
				);
			}
			for (const piece of pieces) result = [...clear(canonical(kind, result), piece)];
		}
		result.push(...pieces);
	}
	const resolved = canonical(kind, result);
	if (entries[0]?.extend && parent?.rootless) return fill(resolved, parent[kind]);
	return resolved;
}

/** Changes an extent of host IDs to IDs of the parent namespace, in pieces if the delegated IDs are in pieces. */
function delegated(kind: IdKind, extent: IdMap, onHost: Extents | undefined): IdMap[] {
	if (onHost === undefined) {
		throw invalidMapping(
			`@${extent.hostID} is a host ID, and the mapping that delegates it was not given`,
			"Give the parent's mapping: { parent: … }.",
		);
	}
	const pieces: IdMap[] = [];
	for (const { containerID: host, hostID: inside, size } of onHost) {
		const from = Math.max(host, extent.hostID);
		const to = Math.min(host + size, extent.hostID + extent.size);
		if (from >= to) continue;
		pieces.push({
			containerID: extent.containerID + (from - extent.hostID),
			hostID: inside + (from - host),
			size: to - from,
		});
	}
	if (count(pieces) < extent.size) {
		throw invalidMapping(
			`some of the ${extent.size} ${kind}s from @${extent.hostID} on are not delegated to the user`,
			`See "podman unshare cat /proc/self/${kind}_map" for the delegated IDs.`,
		);
	}
	return pieces;
}

/** Maps the lowest unmapped container IDs to the lowest unused delegated IDs. */
function fill(extents: Extents, available: Extents): Extents {
	const free = unused(available, [...extents].sort(byHost));
	const result: IdMap[] = extents.map((extent) => ({ ...extent }));
	let at = 0;
	let index = 0;
	for (const range of free) {
		while (range.size > 0) {
			while (index < extents.length && (extents[index] as IdMap).containerID === at) {
				at += (extents[index++] as IdMap).size;
			}
			const room =
				index < extents.length ? (extents[index] as IdMap).containerID - at : Number.POSITIVE_INFINITY;
			const size = Math.min(range.size, room);
			result.push({ containerID: at, hostID: range.first, size });
			at += size;
			range.first += size;
			range.size -= size;
		}
	}
	return result;
}

/** The ranges of delegated IDs that no extent uses. Both lists are sorted by these IDs. */
function unused(available: Extents, taken: readonly Readonly<IdMap>[]): { first: number; size: number }[] {
	const free: { first: number; size: number }[] = [];
	let index = 0;
	for (const { containerID, size } of available) {
		const end = containerID + size;
		let at = containerID;
		for (; index < taken.length; index++) {
			const { hostID, size: count } = taken[index] as IdMap;
			if (hostID >= end) break;
			if (hostID > at) free.push({ first: at, size: hostID - at });
			at = Math.max(at, hostID + count);
			if (at > end) break; // the extent also overlaps the next range
		}
		if (at < end) free.push({ first: at, size: end - at });
	}
	return free;
}

/** Prints arguments with their options, separated by blanks. */
export function printPodman(uid: Extents, gid: Extents): string {
	return printEntries(uid, gid, { uid: "--uidmap=", gid: "--gidmap=" }, " ");
}

/** Prints each extent after the option of its kind. One option alone is for both kinds, unless its entries have the flag of one. */
export function printEntries(
	uid: Extents,
	gid: Extents,
	options: Readonly<Record<IdKind, string>>,
	separator: string,
): string {
	const entry = (option: string) => (extent: Readonly<IdMap>) => `${option}${showExtent(extent)}`;
	const all = () => {
		if (sameExtents(uid, gid)) return uid.map(entry(options.uid));
		if (gid.length === 0) return uid.map(entry(`${options.uid}u`));
		if (uid.length === 0) return gid.map(entry(`${options.gid}g`));
		return [...uid.map(entry(options.uid)), ...gid.map(entry(options.gid))];
	};
	return all().join(separator);
}
