import { invalidArgument, show } from "../errors.ts";
import { copyOptions, ownValue } from "../options.ts";
import { punch, translate } from "./algebra.ts";
import { type Extents, type IdKind, type IdMap, MAX_ID } from "./extent.ts";
import type { Lists } from "./long-lists.ts";

const WHAT = "Mapping.owner";

/** A range of IDs. */
export interface IdRange {
	first: number;
	size: number;
}

/** For `Mapping.owner`: the user and group as which the owner is visible, and the other owners. */
export interface OwnerOptions {
	/** The user ID inside the container; 0 by default. */
	uid?: number | undefined;
	/** The group ID inside the container; 0 by default. */
	gid?: number | undefined;
	/**
	 * `"unmapped"` (the default) maps no other ID: files of other owners are visible with the overflow IDs, and none can be made for them.
	 * `"keep"` leaves every other ID as it is on disk, except the ID as which the owner is visible: it is not mapped on disk, because two
	 * IDs cannot be visible as one. The property `unmapped` of the mapping names it.
	 */
	others?: "unmapped" | "keep" | undefined;
}

/** The extents of `Mapping.owner`. */
export function ownerMaps(source: unknown, container: Lists, options: OwnerOptions | undefined): Lists {
	if (typeof source !== "object" || source === null) {
		throw invalidArgument(`${WHAT}: the source must be an object {uid, gid}, not ${show(source)}`);
	}
	const as = copyOptions<OwnerOptions>(WHAT, options, ["uid", "gid", "others"]);
	const { others = "unmapped" } = as;
	if (others !== "unmapped" && others !== "keep") {
		throw invalidArgument(`${WHAT}: others must be "unmapped" or "keep", not ${show(others)}`);
	}
	const extents = (kind: IdKind): Extents => {
		const onDisk = checkId(`the source's ${kind}`, ownValue(source, kind));
		const inside = checkId(kind, as[kind] ?? 0);
		const visible = translate(container[kind], inside);
		if (visible === undefined) {
			throw invalidArgument(
				`${WHAT}: the mapping of the container has no ${kind} ${inside}`,
				`Give a ${kind} that the container maps: { ${kind}: … }.`,
			);
		}
		const hole: IdMap = { containerID: onDisk, hostID: visible, size: 1 };
		if (others === "unmapped") return [hole];
		return punch(kind, [{ containerID: 0, hostID: 0, size: MAX_ID + 1 }], hole);
	};
	return { uid: extents("uid"), gid: extents("gid") };
}

function checkId(what: string, id: unknown): number {
	if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= MAX_ID) return (id as number) + 0;
	throw invalidArgument(`${WHAT}: ${what} must be a whole number from 0 to ${MAX_ID}, not ${show(id)}`);
}

/** The container IDs that canonical extents do not map. */
export function unmappedRanges(extents: Extents): IdRange[] {
	const ranges: IdRange[] = [];
	let next = 0;
	for (const { containerID, size } of extents) {
		if (containerID > next) ranges.push({ first: next, size: containerID - next });
		next = containerID + size;
	}
	if (next <= MAX_ID) ranges.push({ first: next, size: MAX_ID + 1 - next });
	return ranges;
}
