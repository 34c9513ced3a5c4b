import { type IdKind, type IdMap, Mapping, type MappingInput } from "../../src/index.ts";
import type { Ids } from "./oracle.ts";

export interface Shape {
	name: string;
	mapping: Mapping;
}

const shape = (name: string, input: MappingInput): Shape => ({ name, mapping: Mapping.from(input) });

/** 340 lines fit in the 4095 bytes of one write only when their numbers are short. */
const many: IdMap[] = Array.from({ length: 340 }, (_, i) => ({
	containerID: 2 * i,
	hostID: 3 * i + 500,
	size: 1,
}));

/**
 * The kernel searches up to five extents in turn; six or more it sorts and bisects. Where possible, the IDs on disk are
 * visible IDs of other extents as well: a caller that confuses the two gets an answer, and a wrong one.
 */
export const shapes: readonly Shape[] = [
	shape("one extent", "0:100000:65536"),
	shape("five extents", "0:1000:100,100:5000:1,1000:0:50,65535:70000:7,4000000000:200:20"),
	shape("six extents, upside down", "0:50:10,20:40:5,30:4294967294:1,100:20:20,1000:10:10,65534:0:5"),
	shape("340 extents", { uidMappings: many, gidMappings: many }),
	shape("one ID", "1000:0:1"),
	shape("shifted by one", "0:1:65535"),
	shape("inverted", Mapping.from("0:100000:65536").invert()),
	shape("only uids differ", "u:0:100000:65536,g:0:0:65536"),
	shape("only gids differ", "u:0:0:65536,g:0:100000:65536"),
];

const LAST = 4294967294;

/** The edges of every extent, in both columns: the IDs just inside, and just outside. */
export function edges(
	mapping: Mapping,
	kind: IdKind,
	column: "disk" | "visible",
): { inside: number[]; outside: number[] } {
	const from = column === "disk" ? mapping : mapping.invert();
	const extents = kind === "uid" ? from.uidMappings : from.gidMappings;
	const inside = new Set<number>();
	const outside = new Set<number>();
	for (const { containerID: first, size } of extents) {
		const last = first + size - 1;
		for (const id of [first, last]) inside.add(id);
		for (const id of [first - 1, last + 1]) {
			if (id < 0 || id > LAST) continue;
			const other = kind === "uid" ? from.uidToHost(id) : from.gidToHost(id);
			if (other === undefined) outside.add(id);
		}
	}
	return { inside: [...inside], outside: [...outside] };
}

const at = (list: readonly number[], i: number) => list[i % list.length] as number;

/** Users with groups at the edges: both inside, and one or both outside. */
export function samples(mapping: Mapping, column: "disk" | "visible"): { mapped: Ids[]; unmapped: Ids[] } {
	const uid = edges(mapping, "uid", column);
	const gid = edges(mapping, "gid", column);
	// The groups are in reverse order, so that a mix-up of users and groups shows.
	const gids = gid.inside.reverse();
	const length = Math.max(uid.inside.length, gids.length);
	const mapped = Array.from({ length }, (_, i) => ({ uid: at(uid.inside, i), gid: at(gids, i) }));
	const out = Math.max(uid.outside.length, gid.outside.length);
	const unmapped = Array.from({ length: out }, (_, i) => [
		{ uid: at(uid.outside, i), gid: at(gids, i) },
		{ uid: at(uid.inside, i), gid: at(gid.outside, i) },
		{ uid: at(uid.outside, i), gid: at(gid.outside, i) },
	]).flat();
	return { mapped, unmapped };
}

const LONG = process.env.USERNS_LONG === "1";

function spread<T>(list: readonly T[], count: number): T[] {
	if (list.length <= count) return [...list];
	return Array.from(
		{ length: count },
		(_, i) => list[Math.round((i * (list.length - 1)) / (count - 1))] as T,
	);
}

/** A few of them, the first and the last included; all of them in the long form. */
export function each<T>(list: readonly T[], count: number): T[] {
	return spread(list, LONG ? list.length : count);
}

/** As `each`, for lists that are combined with others: the long form takes some more of them. */
export function some<T>(list: readonly T[], count: number): T[] {
	return spread(list, LONG ? 3 * count : count);
}
