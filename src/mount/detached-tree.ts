import { UsernsError, type UsernsErrorCode } from "../errors.ts";
import { Mapping } from "../mapping/mapping.ts";
import { native, type Outcome, PART } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { PROPAGATION } from "./attributes.ts";
import { type Branch, closeBranches, rootPropagation } from "./branches.ts";
import { type Location, openLocation, showLocation, withLocation } from "./location.ts";
import { MapNamespaces, oneOwn } from "./map-namespaces.ts";
import { attachError, isForeignFileSystem, mountError, triedTo } from "./mount-errors.ts";
import type { MountRequest } from "./mount-options.ts";
import { elsewhereError, isElsewhere } from "./source.ts";
import { readSourceTree, sameTree, type TreeMount } from "./source-tree.ts";
import { type Part, planTree, type SkippedMount, TreeChanged, type TreePlan } from "./tree-plan.ts";

/** The mapping of a mount without a map, where each ID is visible as it is on disk. */
const AS_ON_DISK = "0:0:4294967295";

/** A detached mount, with the mounts below it. */
export interface DetachedTree {
	descriptor: Descriptor;
	mountId: number;
	/** 0 before Linux 6.8. */
	uniqueId: number;
	/** The map of the root, disk to visible; undefined for a mount without a map. */
	map: Mapping | undefined;
	/** The same mapping, or that of a mount without a map. */
	visible: Mapping;
	skipped: SkippedMount[];
	/** The mounts of the tree, the root first, if they are attached one by one; otherwise empty. */
	branches: Branch[];
	/** True if the tree is attached at the request's target. It is unacknowledged until the caller acknowledges it. */
	attached: boolean;
	/** True if it is no copy but the source itself. */
	itself: boolean;
}

/** Closes a tree that is not attached, which unmounts it. */
export function closeTree({ descriptor, branches }: DetachedTree): void {
	closeBranches(branches, true);
	descriptor.close();
}

/** The most attempts to copy a tree whose mounts change meanwhile. */
const ATTEMPTS = 5;

/** What the functions of this file need beside the request. */
interface TreeContext {
	request: MountRequest;
	/** The requested mapping; undefined with `unmap`. */
	requested: Mapping | undefined;
	namespaces: MapNamespaces;
	/** The operation and its operands, for errors. */
	tried: string;
}

/**
 * Copies and maps a source. In most cases one call is enough, and also attaches a single mount (`atOnce`). Only if the kernel
 * refuses, for example because a mount of the source is ID-mapped, the mounts of the source are read and mapped one by one.
 */
export async function createTree(request: MountRequest): Promise<DetachedTree> {
	const namespaces = new MapNamespaces(request.handles);
	const shownTarget = request.target === undefined ? "" : showLocation(request.target);
	let tried = triedTo(request.shown, shownTarget, request.mapping?.id ?? "");
	try {
		const requested = request.unmap ? undefined : await adoptRequested(request, namespaces);
		const ns = requested === undefined ? -1 : await namespaces.fd(requested);
		const { target } = request;
		tried = triedTo(request.shown, shownTarget, requested?.id ?? "");
		const context = { request, requested, namespaces, tried };
		if (requested === undefined || request.separate) return await createByMount(context, undefined);
		const attached = request.atOnce && target !== undefined;
		const outcome = attached ? await mountAtOnce(request, target, ns) : await copySource(request, ns);
		if (outcome.error >= 0) return { ...toTree(outcome, requested, []), attached };
		const itself = request.itself ? await mapItself(context, ns, outcome) : undefined;
		if (itself !== undefined) return itself;
		const refused = outcome.error === ERRNO.EPERM || outcome.error === ERRNO.EINVAL;
		if (outcome.step !== "mount_setattr" || !refused) {
			const { source, resolve } = request;
			const open = (location: Location) => () => openLocation(location, resolve);
			throw await attachError(tried, requested.id, outcome, open(source), open(target ?? ""));
		}
		return await createByMount(context, outcome);
	} catch (error) {
		throw (await elsewhereError(request, tried, error)) ?? error;
	} finally {
		namespaces.close();
	}
}

/** The errors of a creation that the caller's privilege or user namespace causes. */
const REFUSED_CODES: readonly UsernsErrorCode[] = [
	"ERR_USERNS_CREATE",
	"ERR_USERNS_RESTRICTED",
	"ERR_USERNS_HELPER_MISSING",
	"ERR_USERNS_HELPER_FAILED",
	"ERR_USERNS_UNKNOWN_USER",
	"ERR_USERNS_NO_SUBIDS",
	"ERR_USERNS_NOT_DELEGATED",
	"ERR_USERNS_UNMAPPED_ID",
];

/**
 * Adds the requested namespace. A caller that may not create it may in most cases not mount either, and no other mapping would
 * help that caller. So after a refusal the source's mount is copied and mapped to the caller's own IDs, and if that fails, its error is
 * thrown.
 */
async function adoptRequested(request: MountRequest, namespaces: MapNamespaces): Promise<Mapping> {
	try {
		return await namespaces.adopt(request);
	} catch (error) {
		if (!(error instanceof UsernsError) || !REFUSED_CODES.includes(error.code)) throw error;
		const { source, target, mapping } = request;
		const ns = await namespaces.fd(oneOwn()).catch(() => -1);
		const part: Part = { path: "", mountId: 0, mode: ns < 0 ? PART.keep : PART.map, ns };
		const alone = { ...request, recursive: false, recursiveIdmap: false, set: 0, clear: 0, propagation: 0 };
		const copy = await withLocation(source, "open_tree", (fd, path) => copyParts(alone, fd, path, [part]));
		if (copy.error >= 0) native().close(copy.fd);
		// EINVAL depends on `recursive`, and an ID-mapped source is refused as well.
		const opens = copy.step === "source" || (copy.step === "open_tree" && copy.error !== ERRNO.EINVAL);
		const explains = copy.error < 0 && (opens || isForeignFileSystem(copy));
		if (!explains) throw error;
		const shownTarget = target === undefined ? "" : showLocation(target);
		const id = mapping?.id ?? "";
		throw mountError(triedTo(request.shown, shownTarget, id), id, copy);
	}
}

/** Maps and attaches one mount in one call, because waiting for a second thread takes as long as the mount. */
function mountAtOnce(request: MountRequest, target: Location, ns: number): Promise<Outcome> {
	const { source, resolve, set, clear, propagation } = request;
	const flags = (path: string | null) => (path === null ? 0 : resolve);
	return withLocation(source, "open_tree", (sourceFd, from) =>
		withLocation(target, "target", (targetFd, to) =>
			native().mount(sourceFd, from, flags(from), targetFd, to, flags(to), ns, set, clear, propagation),
		),
	);
}

/**
 * Maps a detached mount of another mount namespace itself, because only a process in that namespace can copy it (check_anonymous_mnt()
 * in fs/namespace.c). The kernel refuses that for an attached mount. Returns undefined for any other source.
 */
async function mapItself(
	{ request, requested, tried }: TreeContext,
	ns: number,
	outcome: Outcome,
): Promise<DetachedTree | undefined> {
	if (outcome.step !== "open_tree" || outcome.error !== ERRNO.EINVAL) return undefined;
	if (!(await isElsewhere(request))) return undefined;
	const mapped = await copySource(request, ns, PART.itself);
	if (mapped.error >= 0) return { ...toTree(mapped, requested, []), itself: true };
	if (mapped.error === ERRNO.EINVAL) return undefined;
	throw mountError(tried, requested?.id ?? "", mapped);
}

function copySource(request: MountRequest, ns: number, mode: Part["mode"] = PART.map): Promise<Outcome> {
	const part: Part = { path: "", mountId: 0, mode, ns };
	return withLocation(request.source, "open_tree", (fd, path) => copyParts(request, fd, path, [part]));
}

function toTree(
	{ fd, mountId, uniqueId }: Outcome,
	map: Mapping | undefined,
	skipped: SkippedMount[],
): DetachedTree {
	const visible = map ?? Mapping.from(AS_ON_DISK);
	const descriptor = new Descriptor(fd, "IdmappedMount", visible);
	return {
		descriptor,
		mountId,
		uniqueId,
		map,
		visible,
		skipped,
		branches: [],
		attached: false,
		itself: false,
	};
}

/** Copies and maps each part, and assembles them, in one call of the add-on. */
function copyParts(
	{ resolve, recursive, recursiveIdmap, set, clear, propagation, fromNs }: MountRequest,
	fd: number,
	path: string | null,
	parts: readonly Part[],
): Promise<Outcome> {
	return native().tree(
		fd,
		path,
		path === null ? 0 : resolve,
		parts.map((part) => part.path),
		parts.flatMap(({ mountId, mode, ns }) => [mountId, mode, ns]),
		recursive,
		recursiveIdmap,
		set,
		clear,
		propagation,
		fromNs ?? -1,
	);
}

/**
 * Reads the mounts of the source and maps each of them. `refusal` is the kernel's error for the source as a whole. It is
 * thrown for a single mount in which nothing explains it.
 */
async function createByMount(context: TreeContext, refusal: Outcome | undefined): Promise<DetachedTree> {
	const { request, tried } = context;
	const mapping = context.requested?.id ?? "";
	// A descriptor, so that the mounts that are read are those that are copied.
	const opened = await openLocation(request.source, request.resolve, true);
	if (opened.error < 0) throw mountError(tried, mapping, { ...opened, step: "open_tree" });
	const source = new Descriptor(opened.fd, "source");
	try {
		let error: number = ERRNO.EAGAIN;
		for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
			const outcome = await attemptTree(context, source.fd, refusal);
			if (typeof outcome !== "number") return outcome;
			error = outcome;
		}
		throw mountError(tried, mapping, { error, step: "submount" });
	} finally {
		source.close();
	}
}

/** Returns the tree, or a negative errno if its mounts changed meanwhile. */
async function attemptTree(
	context: TreeContext,
	source: number,
	refusal: Outcome | undefined,
): Promise<DetachedTree | number> {
	const { request, tried, requested } = context;
	const mapping = requested?.id ?? "";
	const mounts = await readSourceTree(source, request, tried);
	let plan: TreePlan;
	try {
		plan = await planTree({ ...context, source, mounts });
	} catch (error) {
		if (error instanceof TreeChanged) return error.error;
		throw error;
	}
	// A tree is still tried mount by mount: the mount that was refused can be covered by another one, and is left out then.
	if (!plan.special && refusal !== undefined && !request.recursive) {
		throw mountError(tried, mapping, refusal, mounts[0]);
	}
	const separate = request.separate && plan.parts.length > 1;
	if (!separate && plan.parts.length > 1 && request.propagation === PROPAGATION.shared) {
		throw sharedError(tried, mapping);
	}
	const result = await (separate ? copySeparately : copyTogether)(request, source, plan);
	if ("error" in result) {
		if (result.step === "submount") return result.error;
		throw mountError(tried, mapping, result, mounts[0]);
	}
	const isSame = await isUnchanged(mounts, source, request, tried, result);
	return isSame ? result : ERRNO.EAGAIN;
}

/** Copies the mounts of a plan as one tree. */
async function copyTogether(
	request: MountRequest,
	source: number,
	{ parts, mapping, skipped }: TreePlan,
): Promise<DetachedTree | Outcome> {
	const single = parts.length === 1 ? { ...request, recursive: false, recursiveIdmap: false } : request;
	const outcome = await copyParts(single, source, null, parts);
	return outcome.error < 0 ? outcome : toTree(outcome, mapping, skipped);
}

/** Copies each mount of a plan as a separate detached mount. */
async function copySeparately(
	request: MountRequest,
	source: number,
	plan: TreePlan,
): Promise<DetachedTree | Outcome> {
	const alone = {
		...request,
		recursive: false,
		recursiveIdmap: false,
		propagation: rootPropagation(request),
	};
	const unchanged = { ...alone, set: 0, clear: 0, propagation: 0 };
	const isPeer = request.propagation === PROPAGATION.shared;
	const branches: Branch[] = [];
	let root: DetachedTree | undefined;
	for (const part of plan.parts) {
		const outcome = await copyParts(alone, source, null, [part]);
		const copy =
			isPeer && outcome.error >= 0
				? await copyParts(unchanged, source, null, [{ ...part, mode: PART.keep, ns: -1 }])
				: undefined;
		const failed = outcome.error < 0 ? outcome : copy !== undefined && copy.error < 0 ? copy : undefined;
		const peer =
			copy === undefined || copy.fd < 0 ? undefined : new Descriptor(copy.fd, "copy of the source");
		if (outcome.fd >= 0) {
			const tree = toTree(outcome, plan.mapping, plan.skipped);
			root ??= tree;
			branches.push({ path: part.path, descriptor: tree.descriptor, uniqueId: outcome.uniqueId, peer });
		}
		if (failed === undefined) continue;
		closeBranches(branches, true);
		return failed;
	}
	return { ...(root as DetachedTree), branches };
}

/**
 * The error for a shared tree that is assembled while it is detached. Each mount of the tree would be a peer of its
 * source's mount when the next one is mounted on it, so the source's mount table would receive an ID-mapped copy of
 * each submount (propagate_mnt() in fs/pnode.c).
 */
function sharedError(tried: string, mapping: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: the mounts of the tree need different maps, and a tree with different maps cannot be a peer of its source`,
		{
			hint: 'Set { propagation: "slave" } or { propagation: "private" }, or mount each submount separately.',
			mapping,
			step: "assembling the tree",
		},
	);
}

/** Whether the source's mounts are still those that were copied. Closes the copy otherwise. */
async function isUnchanged(
	mounts: readonly TreeMount[],
	source: number,
	request: MountRequest,
	tried: string,
	copy: DetachedTree,
): Promise<boolean> {
	let same = false;
	try {
		same = sameTree(mounts, await readSourceTree(source, request, tried));
		return same;
	} finally {
		if (!same) closeTree(copy);
	}
}
