import { invalidMapping, show, showKeys, type UsernsError } from "../../errors.ts";
import { ownMap, ownValue } from "../../options.ts";
import {
	checkExtent,
	type ExtentNames,
	type Extents,
	type IdKind,
	type IdMap,
	sameExtents,
	showExtent,
} from "../extent.ts";
import { checkedAs, readUpTo } from "../text-errors.ts";
import { addExtent, BOTH, noMaps, type ParsedMaps, Scanner, scanExtent } from "./scanner.ts";

/** The JSON objects with one list for each kind. */
export type ObjectSyntax = "oci" | "podman-inspect" | "podman-info" | "cri";

interface Shape {
	/** The key of each list. */
	lists: Readonly<Record<IdKind, string>>;
	/** The keys of an extent, in each spelling that programs write; the first is printed. Undefined: an extent is a text. */
	extents: readonly ExtentNames[] | undefined;
	/** True if the program leaves out a container ID of 0. */
	omitsZero: boolean;
	/** The part of the program's output that has the lists. */
	place: string;
}

const SHAPES: Readonly<Record<ObjectSyntax, Shape>> = {
	oci: {
		lists: { uid: "uidMappings", gid: "gidMappings" },
		extents: [["containerID", "hostID", "size"]],
		omitsZero: false,
		place: "linux of an OCI config.json",
	},
	"podman-inspect": {
		lists: { uid: "UidMap", gid: "GidMap" },
		extents: undefined,
		omitsZero: false,
		place: "HostConfig.IDMappings of podman inspect",
	},
	"podman-info": {
		lists: { uid: "uidmap", gid: "gidmap" },
		extents: [["container_id", "host_id", "size"]],
		omitsZero: false,
		place: "host.idMappings of podman info",
	},
	cri: {
		lists: { uid: "uids", gid: "gids" },
		extents: [
			["container_id", "host_id", "length"],
			["containerId", "hostId", "length"],
		],
		omitsZero: true, // as in the JSON of every protobuf message
		place: "userns_options of the CRI",
	},
};

const INCUS_NAMES: ExtentNames = ["Nsid", "Hostid", "Maprange"];
const INCUS_HINT =
	'Write [{"Isuid": true, "Isgid": true, "Hostid": 2100000000, "Nsid": 0, "Maprange": 65536}, …].';

const BOTH_KEYS = Object.values(SHAPES).map(({ lists, place }) => `${lists.uid} and ${lists.gid} (${place})`);
const KEYS_HINT = `Give the object that has the lists: ${BOTH_KEYS.join(", ")}.`;

/** The stages of reading JSON, in place of positions in the text. */
const STAGE = { text: 1, type: 2, keys: 3, lists: 4 };

function wrong(syntax: string, stage: number, message: string, hint: string): UsernsError {
	return readUpTo(invalidMapping(`${syntax} text: ${message}`, hint), stage);
}

function hintOf({ lists, extents }: Shape): string {
	const [first] = extents ?? [];
	const extent =
		first === undefined
			? '"0:2100000000:65536"'
			: `{${first.map((name, i) => `"${name}": ${[0, 2100000000, 65536][i]}`).join(", ")}}`;
	return `Write {"${lists.uid}": [${extent}], "${lists.gid}": […]}.`;
}

function readJson(syntax: string, text: string, hint: string): unknown {
	try {
		return JSON.parse(text);
	} catch (error) {
		// Another syntax may begin with a bracket only as JSON does.
		const stage = /^\s*[[{]/.test(text) ? STAGE.text : 0;
		throw wrong(syntax, stage, `not valid JSON: ${(error as Error).message}`, hint);
	}
}

/** Parses the JSON object of a program. The keys that it does not know are ignored, so the object may be the whole of `place`. */
export function parseObject(syntax: ObjectSyntax, text: string): ParsedMaps {
	const shape = SHAPES[syntax];
	const value = readJson(syntax, text, hintOf(shape));
	const { uid, gid } = shape.lists;
	if (typeof value !== "object" || value === null || Array.isArray(value)) {
		throw wrong(
			syntax,
			STAGE.type,
			`expected an object with ${uid} and ${gid}, found ${show(value)}`,
			hintOf(shape),
		);
	}
	if (!Object.hasOwn(value, uid) && !Object.hasOwn(value, gid)) {
		throw wrong(
			syntax,
			STAGE.keys,
			`expected an object with ${uid} and ${gid}, found one with ${showKeys(value)}`,
			KEYS_HINT,
		);
	}
	const maps = noMaps();
	for (const kind of BOTH) readList(syntax, kind, ownValue(value, shape.lists[kind]), maps);
	return maps;
}

function readList(syntax: ObjectSyntax, kind: IdKind, list: unknown, maps: ParsedMaps): void {
	const shape = SHAPES[syntax];
	const name = shape.lists[kind];
	// Go writes an empty list as null.
	if (syntax !== "oci" && (list === null || list === undefined)) return;
	if (!Array.isArray(list) || (syntax === "oci" && list.length === 0)) {
		const what =
			syntax === "oci"
				? "an array with at least one extent, because the specification requires both kinds"
				: `an array, not ${show(list)}`;
		throw wrong(syntax, STAGE.lists, `${name} must be ${what}`, hintOf(shape));
	}
	ownMap(list, (extent, index) => {
		if (shape.extents === undefined) readText(syntax, kind, extent, index, maps);
		else maps[kind].push(checkedAs(syntax, () => readExtent(shape, extent, `${name}[${index}]`)));
	});
}

function readExtent({ extents = [], omitsZero }: Shape, extent: unknown, where: string): IdMap {
	const isObject = typeof extent === "object" && extent !== null;
	const names = extents.find((spelling) => isObject && Object.hasOwn(extent, spelling[1])) ?? extents[0];
	if (!isObject || !omitsZero || names === undefined) return checkExtent(extent, where, names);
	const [container] = names;
	const other = Object.keys(extent).find((key) => !names.includes(key));
	if (other !== undefined) {
		// A misspelt container ID would otherwise be 0.
		throw invalidMapping(`${where} has the key ${show(other)}`, `The keys are: ${names.join(", ")}.`);
	}
	return checkExtent({ [container]: 0, ...extent }, where, names);
}

function readText(
	syntax: ObjectSyntax,
	kind: IdKind,
	extent: unknown,
	index: number,
	maps: ParsedMaps,
): void {
	const shape = SHAPES[syntax];
	if (typeof extent !== "string") {
		throw wrong(
			syntax,
			STAGE.lists,
			`${shape.lists[kind]}[${index}] must be a text, not ${show(extent)}`,
			hintOf(shape),
		);
	}
	const scanner = new Scanner(syntax, extent, hintOf(shape));
	scanner.extent = index + 1;
	scanExtent(scanner, ":", maps, [kind]);
	if (!scanner.done) throw scanner.expected("the end after size");
}

export function printObject(syntax: ObjectSyntax, uid: Extents, gid: Extents): string {
	if (syntax === "oci" && (uid.length === 0 || gid.length === 0)) {
		throw invalidMapping(
			"the oci syntax cannot express a mapping of one kind: the specification requires both",
			"Map the other kind too, or print the mapping as colon.",
		);
	}
	const { lists, extents } = SHAPES[syntax];
	const [container, host, size] = extents?.[0] ?? ["", "", ""];
	const print = (list: Extents) =>
		list.map((extent) =>
			extents === undefined
				? showExtent(extent)
				: { [container]: extent.containerID, [host]: extent.hostID, [size]: extent.size },
		);
	return JSON.stringify({ [lists.uid]: print(uid), [lists.gid]: print(gid) });
}

/**
 * Parses the JSON that LXD and Incus keep in volatile.idmap.current and in the settings like it. Each entry is for user IDs, for group IDs
 * or for both.
 */
export function parseIncusJson(text: string): ParsedMaps {
	const list = readJson("incus-json", text, INCUS_HINT);
	if (!Array.isArray(list)) {
		const found = show(list);
		throw wrong("incus-json", STAGE.type, `expected an array of extents, found ${found}`, INCUS_HINT);
	}
	const maps = noMaps();
	ownMap(list, (entry, index) => {
		const has = (key: string) => typeof entry === "object" && entry !== null && ownValue(entry, key);
		const [isUid, isGid] = [has("Isuid"), has("Isgid")];
		if (typeof isUid !== "boolean" || typeof isGid !== "boolean" || !(isUid || isGid)) {
			const message = `entry ${index} must have Isuid and Isgid, of which one is true`;
			throw wrong("incus-json", STAGE.lists, message, INCUS_HINT);
		}
		const extent = checkedAs("incus-json", () => checkExtent(entry, `entry ${index}`, INCUS_NAMES));
		addExtent(maps, isUid && isGid ? BOTH : isUid ? ["uid"] : ["gid"], extent);
	});
	return maps;
}

export function printIncusJson(uid: Extents, gid: Extents): string {
	const entry = (isUid: boolean, isGid: boolean) => (extent: Readonly<IdMap>) => ({
		Isuid: isUid,
		Isgid: isGid,
		Hostid: extent.hostID,
		Nsid: extent.containerID,
		Maprange: extent.size,
	});
	if (sameExtents(uid, gid)) return JSON.stringify(uid.map(entry(true, true)));
	return JSON.stringify([...uid.map(entry(true, false)), ...gid.map(entry(false, true))]);
}
