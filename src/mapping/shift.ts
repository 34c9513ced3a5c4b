import { copyOptions } from "../options.ts";
import { canonical, checkExtent, type Extents, MAX_ID } from "./extent.ts";

/** The extents of `Mapping.identity`. */
export function identityExtents(
	range: { from?: number | undefined; size?: number | undefined } | undefined,
): Extents {
	const known = ["from", "size"];
	const { from = 0, size = MAX_ID - from + 1 } = copyOptions<typeof range & object>(
		"Mapping.identity",
		range,
		known,
	);
	return shiftExtents({ from, to: from, size });
}

/** The extents of `Mapping.shift`. */
export function shiftExtents(range: { from: number; to: number; size: number }): Extents {
	const { from, to, size } = copyOptions<typeof range>("Mapping.shift", range, ["from", "to", "size"]);
	const extent = checkExtent(
		{ containerID: from, hostID: to, size },
		"Mapping.shift {from, to, size} as an extent",
	);
	return canonical("uid", [extent]);
}
