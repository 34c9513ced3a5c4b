import { describeErrno, UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { native, type Outcome, PART } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { shorten } from "../native/steps.ts";
import { RESOLVE } from "./attach-options.ts";
import { heldMap, mapOf, PARTIAL } from "./held-maps.ts";
import type { MapNamespaces } from "./map-namespaces.ts";
import { mountError } from "./mount-errors.ts";
import type { MountRequest } from "./mount-options.ts";
import type { TreeMount } from "./source-tree.ts";
import { NOT_ON_THIS_KERNEL } from "./statmount.ts";

/** A mount below the source that is mounted without a map, because its file system cannot be mapped. */
export interface SkippedMount {
	/** The mount point below the source. */
	mountPoint: string;
	fsType: string;
	/** The kernel's refusal, such as `setting the map: EINVAL (invalid argument)`. */
	reason: string;
}

/** One mount of the tree as the add-on takes it: path below the source, mount ID, PART, namespace descriptor or −1. */
export interface Part {
	path: string;
	mountId: number;
	mode: (typeof PART)[keyof typeof PART];
	ns: number;
}

/** What is done with each mount of a source. */
export interface TreePlan {
	parts: Part[];
	/** The map of the root, disk to visible; undefined for a mount without a map. */
	mapping: Mapping | undefined;
	skipped: SkippedMount[];
	/** Whether the parts differ from those of one call for the whole tree. */
	special: boolean;
}

/** Thrown in this folder only: a mount is no longer where it was. The source is read again. */
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
	/** The requested mapping; undefined with `unmap`. */
	requested: Mapping | undefined;
	namespaces: MapNamespaces;
	/** The operation and its operands, for errors. */
	tried: string;
}

/**
 * Decides for each mount of a source whether it is mapped, and with which mapping. It tries each map on a copy of the mount, and
 * never goes by the type of the file system. Throws if a mount refuses its map and must not be skipped; the error names it.
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

/** What is done with the map of one mount. */
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
		throw new UsernsError("ERR_USERNS_MOUNT", `${tried}: ${alreadyMapped(mount)}`, {
			hint: 'Set { nested: "compose" } or { nested: "replace" }.',
			mapping: requested.id,
			step: "reading the source's map",
		});
	}
	return { mode: PART.remap, mapping: compose(context, mount, await currentMap(context, mount)) };
}

function alreadyMapped({ fsType, mountPoint }: TreeMount): string {
	return `the ${fsType} at ${mountPoint} is already ID-mapped`;
}

/** For a mount that is not in the mount table. If a copy of it refuses a map with EPERM, it has one. */
async function isMapped(
	{ source, request, requested, namespaces }: PlanContext,
	mount: TreeMount,
): Promise<boolean> {
	if (heldMap(source) !== undefined) return true;
	if (requested === undefined) return true; // clearing the map of a mount without one is not an error
	const ns = await namespaces.fd(requested);
	const part: Part = { path: mount.path, mountId: mount.mountId, mode: PART.map, ns };
	return (await tryPart(source, part, request.fromNs)).error === ERRNO.EPERM;
}

/** The map of a mount, disk to visible. */
async function currentMap(context: PlanContext, mount: TreeMount): Promise<Mapping> {
	const { source, request, tried } = context;
	const map =
		mount.path === "" ? (mapOf(source, request.fromNs) ?? heldMap(source)) : await mapBelow(context, mount);
	if (typeof map !== "string" && map !== undefined) return map;
	const kernel = map === NOT_ON_THIS_KERNEL;
	throw new UsernsError(
		kernel ? "ERR_USERNS_UNSUPPORTED_KERNEL" : "ERR_USERNS_MOUNT",
		`${tried}: ${alreadyMapped(mount)}, and its map cannot be composed with another: ${map ?? "map unknown"}`,
		{
			hint: kernel
				? "Mount the source of that mount. Composing needs statmount(2) with maps and open_tree_attr(2), both of Linux 6.15."
				: map === PARTIAL
					? 'Set { nested: "replace" }, where containerID is the ID on disk; or mount in a user namespace that maps every ID, such as the initial one.'
					: 'Attach the source first, so that its map can be read; or set { nested: "replace" }, where containerID is the ID on disk.',
			step: "reading the source's map",
		},
	);
}

async function mapBelow(
	{ source, request }: PlanContext,
	mount: TreeMount,
): Promise<Mapping | string | undefined> {
	const resolve = RESOLVE.noSymlinks | RESOLVE.noMagicLinks;
	const opened = await native().openLocation(source, mount.path, resolve, -1, false);
	if (opened.error < 0) throw new TreeChanged(opened.error);
	try {
		if (opened.mountId !== mount.mountId) throw new TreeChanged(ERRNO.EAGAIN);
		return mapOf(opened.fd, request.fromNs);
	} finally {
		native().close(opened.fd);
	}
}

/** Composes the map of a mount with the requested one, as if the mounts were stacked. */
function compose({ requested, tried }: PlanContext, mount: TreeMount, map: Mapping): Mapping {
	const composed = map.compose(requested as Mapping);
	if (composed.uidMappings.length > 0 && composed.gidMappings.length > 0) return composed;
	const kind = composed.uidMappings.length === 0 ? "uids" : "gids";
	throw new UsernsError(
		"ERR_USERNS_INVALID_MAPPING",
		`${tried}: ${alreadyMapped(mount)}, and the mapping contains none of the ${kind} visible through it`,
		{
			hint: `Use container IDs that are visible through the source, whose map is ${shorten(map.id)}.`,
			mapping: (requested as Mapping).id,
		},
	);
}

/** Copies and maps one mount, and closes the copy. `mountNs`: the mount namespace of the source, if it is another one. */
export async function tryPart(source: number, part: Part, mountNs: number = -1): Promise<Outcome> {
	const numbers = [part.mountId, part.mode, part.ns];
	const outcome = await native().tree(source, null, 0, [part.path], numbers, false, false, 0, 0, 0, mountNs);
	if (outcome.fd >= 0) native().close(outcome.fd);
	return outcome;
}

/** Tries the map of one mount of a tree. If the kernel refuses it, the mount is skipped or the error is thrown. */
async function probe(
	{ source, request, requested, tried }: PlanContext,
	mount: TreeMount,
	part: Part,
	plan: TreePlan,
	index: number,
): Promise<void> {
	const outcome = await tryPart(source, part, request.fromNs);
	if (outcome.error >= 0 || outcome.step === "submount") return; // a mount that has changed fails the copy later
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
