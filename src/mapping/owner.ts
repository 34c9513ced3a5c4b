import { invalidArgument, show } from "../errors.ts";
import { copyOptions, ownValue } from "../options.ts";
import { punch, translate } from "./algebra.ts";
import { type Extents, type IdKind, MAX_ID, NO_EXTENTS } from "./extent.ts";
import type { Lists } from "./long-lists.ts";

const WHAT = "Mapping.owner";

/** A range of IDs. */
export interface IdRange {
	first: number;
	size: number;
}

/** A user and a group, by their IDs. */
export interface Owner {
	uid: number;
	gid: number;
}

/** Checks and copies a user and a group. `what` names them in messages. */
export function checkOwner(what: string, value: unknown): Owner {
	if (typeof value !== "object" || value === null) {
		throw invalidArgument(`${what} must be an object {uid, gid}, not ${show(value)}`);
	}
	const id = (kind: IdKind) => checkId(`${what}: ${kind}`, ownValue(value, kind));
	return { uid: id("uid"), gid: id("gid") };
}

/** Checks the option `others`. */
export function checkOthers(what: string, value: unknown): "unmapped" | "keep" | undefined {
	if (value === undefined || value === "unmapped" || value === "keep") return value;
	throw invalidArgument(`${what}: others must be "unmapped" or "keep", not ${show(value)}`);
}

/** The extents in which one ID on disk is visible as another one, and the other IDs as in `others`. */
export function ownerExtents(kind: IdKind, onDisk: number, visible: number, others: Extents): Extents {
	return punch(kind, others, { containerID: onDisk, hostID: visible, size: 1 });
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
	const onDisk = checkOwner(`${WHAT}: the source`, source);
	const as = copyOptions<OwnerOptions>(WHAT, options, ["uid", "gid", "others"]);
	const keeps = checkOthers(WHAT, as.others) === "keep";
	const others: Extents = keeps ? [{ containerID: 0, hostID: 0, size: MAX_ID + 1 }] : NO_EXTENTS;
	const extents = (kind: IdKind): Extents => {
		const inside = checkId(`${WHAT}: ${kind}`, as[kind] ?? 0);
		const visible = translate(container[kind], inside);
		if (visible === undefined) {
			throw invalidArgument(
				`${WHAT}: the mapping of the container has no ${kind} ${inside}`,
				`Give a ${kind} that the container maps: { ${kind}: … }.`,
			);
		}
		return ownerExtents(kind, onDisk[kind], visible, others);
	};
	return { uid: extents("uid"), gid: extents("gid") };
}

function checkId(what: string, id: unknown): number {
	if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= MAX_ID) return (id as number) + 0;
	throw invalidArgument(`${what} must be a whole number from 0 to ${MAX_ID}, not ${show(id)}`);
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
