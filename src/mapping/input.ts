import { invalidMapping, show, showKeys } from "../errors.ts";
import { ownMap, ownValue } from "../options.ts";
import {
	canonical,
	checkExtent,
	type Extents,
	type IdKind,
	type IdMap,
	NO_EXTENTS,
	sameExtents,
} from "./extent.ts";
import type { Lists } from "./long-lists.ts";
import { checkLimits } from "./proc.ts";

/**
 * The shape of the OCI runtime-spec. Other keys are ignored, so the `linux` object of a config.json can be passed unchanged.
 * A kind that is null or left out has no extents.
 */
export interface OciMappings {
	uidMappings?: readonly Readonly<IdMap>[] | null | undefined;
	gidMappings?: readonly Readonly<IdMap>[] | null | undefined;
}

/** Extents of both kinds, each within bounds, in any order. */
export interface Maps {
	uid: readonly IdMap[];
	gid: readonly IdMap[];
}

/** Copies extents into objects that the caller may change. */
export function copy(extents: Extents): IdMap[] {
	return extents.map(({ containerID, hostID, size }) => ({ containerID, hostID, size }));
}

/** Checks and copies the extents of an object in the OCI form. */
export function ociMaps(input: unknown): Maps {
	if (typeof input !== "object" || input === null || Array.isArray(input)) {
		throw invalidMapping(
			`a mapping must be a Mapping, an object {uidMappings, gidMappings} or a string, not ${show(input)}`,
			'Write it as a string, such as "0:2100000000:65536".',
		);
	}
	if (!Object.hasOwn(input, "uidMappings") && !Object.hasOwn(input, "gidMappings")) {
		throw invalidMapping(
			`a mapping object must have the key uidMappings or gidMappings, but has ${showKeys(input)}`,
			'Give uidMappings and gidMappings as lists of extents, or a text, such as "0:2100000000:65536".',
		);
	}
	return {
		uid: checkList("uid", ownValue(input, "uidMappings")),
		gid: checkList("gid", ownValue(input, "gidMappings")),
	};
}

function checkList(kind: IdKind, list: unknown): readonly IdMap[] {
	if (list === undefined || list === null) return NO_EXTENTS; // Go writes an empty list as null or not at all
	if (!Array.isArray(list)) {
		throw invalidMapping(
			`${kind}Mappings must be an array of extents, not ${show(list)}`,
			"Write it as [{containerID: 0, hostID: 2100000000, size: 65536}].",
		);
	}
	return ownMap(list, (extent, index) => checkExtent(extent, `${kind}Mappings[${index}]`));
}

/** The canonical lists. Throws `ERR_USERNS_INVALID_MAPPING` if there are no extents or the kernel would refuse them. */
export function checkMaps(maps: Maps): Lists {
	const uid = canonical("uid", maps.uid);
	// Mostly both kinds are equal. They then share one list, and the second is not checked again.
	const gid = sameExtents(uid, maps.gid) ? uid : canonical("gid", maps.gid);
	if (uid.length === 0 && gid.length === 0) {
		throw invalidMapping(
			"the mapping maps nothing: neither uidMappings nor gidMappings has an extent",
			"Give at least one extent, such as 0:2100000000:65536.",
		);
	}
	checkLimits("uid", uid);
	if (gid !== uid) checkLimits("gid", gid);
	return { uid, gid };
}
