import { describeErrno, UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { ownMapsAll } from "../namespace/caller-map.ts";
import { native, type Outcome, PART } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { shorten } from "../native/steps.ts";
import { RESOLVE } from "./attach-options.ts";
import { heldMap } from "./held-maps.ts";
import type { MapNamespaces } from "./map-namespaces.ts";
import { mountError } from "./mount-errors.ts";
import type { MountRequest } from "./mount-request.ts";
import type { TreeMount } from "./source-tree.ts";
import { mappingAt, NOT_ON_THIS_KERNEL } from "./statmount.ts";

/** A mount below the source that came along without a map, since its file system cannot be mapped. */
export interface SkippedMount {
	/** Where it is, below the source. */
	mountPoint: string;
	fsType: string;
	/** What the kernel said. */
	reason: string;
}

/** One mount of the tree as the C part takes it. */
export interface Part {
	path: string;
	mountId: number;
	mode: (typeof PART)[keyof typeof PART];
	ns: number;
}

export interface TreePlan {
	parts: Part[];
	/** Of the source itself, disk to visible; undefined for none. */
	mapping: Mapping | undefined;
	skipped: SkippedMount[];
	/** Whether it does anything that one call for the whole would not do. */
	special: boolean;
}

/** For this folder alone: a mount was not found where it was a moment before. The tree is looked at again. */
export class TreeChanged extends Error {
	/** Negative. */
	readonly error: number;

	constructor(error: number) {
		super("the mounts below the source changed");
		this.error = error;
	}
}

export interface PlanContext {
	request: MountRequest;
	/** A descriptor of the source. */
	source: number;
	mounts: readonly TreeMount[];
	requested: Mapping | undefined;
	namespaces: MapNamespaces;
	tried: string;
}

/**
 * Decides for each mount of a tree what becomes of its map, by asking the kernel about each and never by the name of its
 * file system. Throws when one of them refuses and is not to be skipped: the error names it.
 */
export async function planTree(context: PlanContext): Promise<TreePlan> {
	const { request, mounts } = context;
	const plan: TreePlan = { parts: [], mapping: context.requested, skipped: [], special: false };
	for (const [index, mount] of mounts.entries()) {
		const mapped = index === 0 || request.recursiveIdmap;
		const { mode, mapping } = mapped ? await decide(context, mount) : { mode: PART.keep, mapping: undefined };
		const ns = mapping === undefined ? -1 : await context.namespaces.fd(mapping);
		const part: Part = { path: mount.path, mountId: mount.mountId, mode, ns };
		if (index === 0) plan.mapping = mapping;
		if (mode === PART.remap || mode === PART.clear) plan.special = true;
		if (mode !== PART.keep && mounts.length > 1) await probe(context, mount, part, plan, index);
		plan.parts.push(part);
	}
	return plan;
}

/** What becomes of the map of one mount that is to be mapped. */
async function decide(
	context: PlanContext,
	mount: TreeMount,
): Promise<{ mode: Part["mode"]; mapping: Mapping | undefined }> {
	const { request, requested, tried } = context;
	const { idmapped = await isMapped(context, mount) } = mount;
	if (requested === undefined) return { mode: idmapped ? PART.clear : PART.keep, mapping: undefined };
	if (!idmapped) return { mode: PART.map, mapping: requested };
	if (request.nested === "replace") return { mode: PART.remap, mapping: requested };
	if (request.nested === "refuse") {
		throw new UsernsError(
			"ERR_USERNS_MOUNT",
			`${tried}: the ${mount.fsType} at ${mount.mountPoint} is ID-mapped already`,
			{
				hint: 'Leave nested out to have the maps composed, or set it to "replace".',
				mapping: requested.id,
				step: "looking at the source's map",
			},
		);
	}
	return { mode: PART.remap, mapping: compose(context, mount, await currentMap(context, mount)) };
}

/** For a mount that is in no table: whether a copy of it takes a map tells whether it has one. */
async function isMapped({ source, requested, namespaces }: PlanContext, mount: TreeMount): Promise<boolean> {
	if (heldMap(source) !== undefined) return true;
	if (requested === undefined) return true; // clearing is no error where there is nothing to clear
	const ns = await namespaces.fd(requested);
	const part: Part = { path: mount.path, mountId: mount.mountId, mode: PART.map, ns };
	return (await tryPart(source, part)).error === ERRNO.EPERM;
}

/** The map that a mount has, disk to visible. */
async function currentMap(context: PlanContext, mount: TreeMount): Promise<Mapping> {
	const { source, tried } = context;
	const known = mount.path === "" ? (mappingOfFd(source) ?? heldMap(source)) : await mapBelow(context, mount);
	if (typeof known !== "string" && known !== undefined) return known;
	const kernel = known === NOT_ON_THIS_KERNEL;
	throw new UsernsError(
		kernel ? "ERR_USERNS_UNSUPPORTED_KERNEL" : "ERR_USERNS_MOUNT",
		`${tried}: the ${mount.fsType} at ${mount.mountPoint} is ID-mapped already, and its map cannot be composed with another: ${known ?? "map unknown"}`,
		{
			hint:
				known === PARTIAL
					? 'Set nested to "replace", where containerID is the ID on disk; or mount where no ID is missing, as on the host.'
					: kernel
						? "What is missing is statmount(2) with maps and open_tree_attr(2), both of Linux 6.15. Mount what is below that mount instead."
						: 'Attach the source first, so that its map can be read; or set nested to "replace", where containerID is the ID on disk.',
			step: "reading the source's map",
		},
	);
}

/** statmount_mnt_idmap() in fs/mnt_idmapping.c: a map that lacks some of it would be composed to less than there is. */
const PARTIAL =
	"this process's user namespace does not have every ID, and the kernel leaves out what it cannot show there";

/** What the kernel does not tell, or not surely all of, may be what this process remembers. */
function mappingOfFd(fd: number): Mapping | string | undefined {
	const known = mappingAt(fd);
	if (known === undefined || (typeof known !== "string" && ownMapsAll())) return known;
	return heldMap(fd) ?? (typeof known === "string" ? known : PARTIAL);
}

async function mapBelow({ source }: PlanContext, mount: TreeMount): Promise<Mapping | string | undefined> {
	const resolve = RESOLVE.noSymlinks | RESOLVE.noMagicLinks;
	const opened = await native().openPlace(source, mount.path, resolve, -1, true);
	if (opened.error < 0) throw new TreeChanged(opened.error);
	try {
		if (opened.mountId !== mount.mountId) throw new TreeChanged(ERRNO.EAGAIN);
		return mappingOfFd(opened.fd);
	} finally {
		native().close(opened.fd);
	}
}

/** The map that is there first, then the one that was asked for: as if the mounts were stacked. */
function compose({ requested, tried }: PlanContext, mount: TreeMount, there: Mapping): Mapping {
	const composed = there.compose(requested as Mapping);
	if (composed.uidMappings.length > 0 && composed.gidMappings.length > 0) return composed;
	const kind = composed.uidMappings.length === 0 ? "uids" : "gids";
	throw new UsernsError(
		"ERR_USERNS_INVALID_MAPPING",
		`${tried}: the ${mount.fsType} at ${mount.mountPoint} is ID-mapped already, and none of the ${kind} visible through it are in the mapping`,
		{
			hint: `For a nested mount, containerID is the ID that is visible through the source. Its map is ${shorten(there.id)}.`,
			mapping: (requested as Mapping).id,
		},
	);
}

/** One mount, copied alone and dropped again. */
export async function tryPart(source: number, part: Part): Promise<Outcome> {
	const numbers = [part.mountId, part.mode, part.ns];
	const outcome = await native().tree(source, null, 0, [part.path], numbers, false, false, 0, 0, 0, true);
	if (outcome.fd >= 0) native().close(outcome.fd);
	return outcome;
}

/** Asks the kernel whether one mount of a tree takes its map; a refusal is an error, or the mount is skipped. */
async function probe(
	{ source, request, requested, tried }: PlanContext,
	mount: TreeMount,
	part: Part,
	plan: TreePlan,
	index: number,
): Promise<void> {
	const outcome = await tryPart(source, part);
	if (outcome.error >= 0 || outcome.step === "submount") return; // what changed meanwhile is noticed later
	const refuses = outcome.error === ERRNO.EINVAL || outcome.error === ERRNO.EPERM;
	const bySetting = outcome.step === "mount_setattr" || outcome.step === "open_tree_attr";
	if (!request.skipUnsupported || index === 0 || !refuses || !bySetting) {
		throw mountError(tried, requested?.id ?? "", outcome, mount);
	}
	part.mode = PART.keep;
	part.ns = -1;
	plan.special = true;
	plan.skipped.push({
		mountPoint: mount.mountPoint,
		fsType: mount.fsType,
		reason: `setting the map: ${describeErrno(outcome.error)}`,
	});
}
