import { invalidMapping, show } from "../errors.ts";
import { ownMap } from "../options.ts";
import { checkExtent, type Extents, type IdKind, type IdMap, NO_EXTENTS } from "./extent.ts";

/** Fresh extents that a caller may change. */
export function copy(extents: Extents): IdMap[] {
	return extents.map(({ containerID, hostID, size }) => ({ containerID, hostID, size }));
}

/** The extents of one kind in the OCI form, checked one by one and copied. */
export function checkList(kind: IdKind, list: unknown): readonly IdMap[] {
	if (list === undefined || list === null) return NO_EXTENTS; // Go writes an empty list as null or not at all
	if (!Array.isArray(list)) {
		throw invalidMapping(
			`${kind}Mappings must be an array of extents, not ${show(list)}`,
			"Write it as [{containerID: 0, hostID: 2100000000, size: 65536}].",
		);
	}
	return ownMap(list, (extent, index) => checkExtent(extent, `${kind}Mappings[${index}]`));
}
