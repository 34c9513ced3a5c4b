import { invalidMapping } from "../../errors.ts";
import { ownMap, ownValue } from "../../options.ts";
import { checkExtent, type Extents } from "../extent.ts";
import type { ParsedMaps } from "./scanner.ts";

const HINT =
	'Write {"uidMappings": [{"containerID": 0, "hostID": 2100000000, "size": 65536}], "gidMappings": […]}.';

/** Parses the JSON of the OCI runtime-spec, which requires both kinds (config.md, "uidMappings"). */
export function parseOci(text: string): ParsedMaps {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch (error) {
		throw invalidMapping(`oci text: not valid JSON: ${(error as Error).message}`, HINT);
	}
	if (typeof value !== "object" || value === null || Array.isArray(value)) {
		throw invalidMapping("oci text: expected an object with uidMappings and gidMappings", HINT);
	}
	const read = (name: string) => readList(name, ownValue(value, name));
	return { uid: read("uidMappings"), gid: read("gidMappings") };
}

function readList(name: string, list: unknown): ParsedMaps["uid"] {
	if (!Array.isArray(list) || list.length === 0) {
		throw invalidMapping(
			`oci text: ${name} must be an array with at least one extent, because the specification requires both kinds`,
			HINT,
		);
	}
	return ownMap(list, (extent, index) => checkExtent(extent, `oci text: ${name}[${index}]`));
}

export function printOci(uid: Extents, gid: Extents): string {
	if (uid.length === 0 || gid.length === 0) {
		throw invalidMapping(
			"the oci syntax cannot express a mapping of one kind: the specification requires both",
			"Map the other kind too, or print the mapping as colon.",
		);
	}
	return JSON.stringify({ uidMappings: uid, gidMappings: gid });
}
