import { invalidMapping, show } from "../../errors.ts";
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
import { BOTH, type ParsedMaps, Scanner } from "./scanner.ts";

const HINT =
	"Write --uidmap=[+ug]container:[@]from[:amount] and --gidmap=… likewise; without a name a value is a --uidmap.";

/** The namespace that the container's will be made in: what is delegated to the user, inside → on the host. */
export interface PodmanParent {
	uid: Extents;
	gid: Extents;
	/** Podman runs without root: a first entry with + extends what is delegated, instead of standing alone. */
	rootless: boolean;
}

interface Entry {
	/** Which option it was given with. */
	option: IdKind;
	kinds: readonly IdKind[];
	extend: boolean;
	ofHost: boolean;
	extent: IdMap;
}

/**
 * The values of podman's --uidmap and --gidmap, in the order of the command line:
 * `[+ug]*container:[@]from[:amount]`, several triples joined by `:`. See podman-run(1).
 *
 * `amount` is 1 when left out, and an entry of amount 0 is passed over. `@from` is an ID of the host, looked up in
 * what is delegated. `+` takes whatever conflicts with the entry out of those before it; when the first entry has it
 * and podman is rootless, container IDs that stay unmapped are filled from 0 with what is delegated and not used. One
 * option alone serves both kinds, but for entries that are flagged u or g.
 */
export function parsePodman(args: readonly string[], parent: PodmanParent | undefined): ParsedMaps {
	const entries = readArguments(args);
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
			if (named) throw invalidMapping(`podman text: ${show(word)} stands where a value was expected`, HINT);
			option = match[1] as IdKind;
			named = match[2] === "";
			if (named) continue;
		} else if (!named) option = "uid";
		readValue(match === null ? word : word.slice(match[0].length), option, entries);
		named = false;
	}
	if (named) throw invalidMapping("podman text: the last option has no value", HINT);
	const both = new Set(entries.map((entry) => entry.option)).size === 2;
	const stray = entries.find((entry) => !entry.kinds.includes(entry.option));
	if (both && stray !== undefined) {
		throw invalidMapping(
			`podman text: an entry of --${stray.option}map (${showExtent(stray.extent)}) is flagged for the other kind, which has an option of its own`,
			"Put it into that option.",
		);
	}
	return entries;
}

function readValue(value: string, option: IdKind, entries: Entry[]): void {
	const scanner = new Scanner("podman", value, HINT);
	scanner.extent = entries.length + 1;
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
		if (scanner.done) return;
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

/** Each + goes through everything before it, so there is an end to how many there may be; nobody needs as many. */
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
					`podman text: more than ${MOST_EXTENDING} entries with +`,
					"Write what comes out instead.",
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

/** An extent of host IDs, as IDs of the parent namespace: in pieces, when what is delegated is. */
function delegated(kind: IdKind, extent: IdMap, onHost: Extents | undefined): IdMap[] {
	if (onHost === undefined) {
		throw invalidMapping(
			`podman text: @${extent.hostID} is an ID of the host, and nobody said what the host delegates`,
			"Give the parent's mapping as context.",
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
			`podman text: not all of @${extent.hostID}, ${extent.size} ${kind}s, is delegated to the user`,
			"Look at /proc/self/uid_map of the namespace that podman runs in (podman unshare cat /proc/self/uid_map).",
		);
	}
	return pieces;
}

/** Gives the lowest free container IDs the lowest delegated IDs that nobody uses yet. */
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

/** The ranges of delegated IDs that no extent is mapped from. Both lists are in the order of these IDs. */
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
			if (at > end) break; // it reaches into the next one, too
		}
		if (at < end) free.push({ first: at, size: end - at });
	}
	return free;
}

/** As arguments with their options, separated by blanks. */
export function printPodman(uid: Extents, gid: Extents): string {
	const option =
		(name: string, flag = "") =>
		(extent: Readonly<IdMap>) =>
			`--${name}=${flag}${showExtent(extent)}`;
	if (sameExtents(uid, gid)) return uid.map(option("uidmap")).join(" ");
	if (gid.length === 0) return uid.map(option("uidmap", "u")).join(" ");
	if (uid.length === 0) return gid.map(option("gidmap", "g")).join(" ");
	return [...uid.map(option("uidmap")), ...gid.map(option("gidmap"))].join(" ");
}
