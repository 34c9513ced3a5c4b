import { UsernsError } from "../errors.ts";
import { Mapping } from "../mapping/mapping.ts";
import { native, type Outcome, PART } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { withCopy } from "./attach.ts";
import { showLocation } from "./attach-options.ts";
import { PROPAGATION } from "./attributes.ts";
import { type Branch, closeBranches, rootPropagation } from "./branches.ts";
import { adoptMount, type IdmappedMount } from "./idmapped-mount.ts";
import { MapNamespaces } from "./map-namespaces.ts";
import { mountError, triedTo } from "./mount-errors.ts";
import type { MountRequest } from "./mount-request.ts";
import { readSourceTree, sameTree, type TreeMount } from "./source-tree.ts";
import {
	type Part,
	type PlanContext,
	planTree,
	type SkippedMount,
	TreeChanged,
	type TreePlan,
} from "./tree-plan.ts";

/** A mount without a map: every ID that there is. */
const AS_ON_DISK = "0:0:4294967295";

/** A detached tree, and what it shows. */
export interface DetachedTree {
	descriptor: Descriptor;
	mountId: number;
	/** 0 before Linux 6.8. */
	uniqueId: number;
	/** The map that the mount has: disk to visible. Undefined for none. */
	mapping: Mapping | undefined;
	/** The same, or that every ID is as it is on disk. */
	shows: Mapping;
	skipped: SkippedMount[];
	/** All mounts of the tree, the root first, if they are attached one by one; empty otherwise. */
	branches: Branch[];
}

/** Drops a tree that is attached nowhere. */
export function closeTree({ descriptor, branches }: DetachedTree): void {
	closeBranches(branches, true);
	descriptor.close();
}

/** How often a tree is looked at anew that changes while it is copied. */
const ATTEMPTS = 5;

/**
 * Makes a tree. Most of them take two system calls; only when the kernel refuses those is the source looked at: a mount
 * of it is ID-mapped already, or cannot be. What is plain may come attached: the caller acknowledges it (`told`) as
 * the last thing before it returns the mount.
 */
export async function createTree(request: MountRequest & { plain: false }): Promise<DetachedTree>;
export async function createTree(request: MountRequest): Promise<DetachedTree | IdmappedMount>;
export async function createTree(request: MountRequest): Promise<DetachedTree | IdmappedMount> {
	const namespaces = new MapNamespaces(request.handles);
	try {
		const requested = request.unmap ? undefined : await namespaces.adopt(request);
		const ns = requested === undefined ? -1 : await namespaces.fd(requested);
		const { source, target } = request;
		const shown = target === undefined ? "" : showLocation(target);
		const tried = triedTo(showLocation(source), shown, requested?.id ?? "");
		const context = { request, requested, namespaces, tried };
		if (requested === undefined || request.separate) return await createByMount(context, undefined);
		const part: Part = { path: "", mountId: 0, mode: PART.map, ns };
		const plain = request.plain && target !== undefined;
		const outcome = plain
			? await mountAtOnce(request, target, ns)
			: await withLocation(source, "open_tree", (fd, path) => build(request, fd, path, [part]));
		if (outcome.error >= 0) return plain ? adopt(outcome, request, requested) : made(outcome, requested, []);
		const refused = outcome.error === ERRNO.EPERM || outcome.error === ERRNO.EINVAL;
		if (outcome.step !== "mount_setattr" || !refused) throw mountError(tried, requested.id, outcome);
		return await createByMount(context, outcome);
	} finally {
		namespaces.close();
	}
}

/** Maps and attaches one mount on one thread, because the wait for a second thread takes as long as the mount. */
function mountAtOnce(request: MountRequest, target: string | number, ns: number): Promise<Outcome> {
	const { source, resolve, set, clear, propagation } = request;
	const flags = (path: string | null) => (path === null ? 0 : resolve);
	return withLocation(source, "open_tree", (sourceFd, from) =>
		withLocation(target, "target", (targetFd, to) =>
			native().mount(sourceFd, from, flags(from), targetFd, to, flags(to), ns, set, clear, propagation, true),
		),
	);
}

function adopt({ fd, mountId, uniqueId }: Outcome, request: MountRequest, mapping: Mapping): IdmappedMount {
	const { source, target, propagation } = request;
	const descriptor = new Descriptor(fd, "IdmappedMount", mapping);
	const known = { descriptor, mountId, uniqueId, source, propagation, mapping: mapping.id };
	return adoptMount({ ...known, recursive: false, words: undefined }, mapping, [], target);
}

function made(
	{ fd, mountId, uniqueId }: Outcome,
	mapping: Mapping | undefined,
	skipped: SkippedMount[],
): DetachedTree {
	const shows = mapping ?? Mapping.from(AS_ON_DISK);
	return {
		descriptor: new Descriptor(fd, "IdmappedMount", shows),
		mountId,
		uniqueId,
		mapping,
		shows,
		skipped,
		branches: [],
	};
}

function withLocation(
	location: string | number,
	step: string,
	work: (fd: number, path: string | null) => Promise<Outcome>,
): Promise<Outcome> {
	return typeof location === "string" ? work(-1, location) : withCopy(location, (fd) => work(fd, null), step);
}

/** One call of the C part: a copy of each part, put together. */
function build(
	request: MountRequest,
	fd: number,
	path: string | null,
	parts: readonly Part[],
): Promise<Outcome> {
	const { recursive, recursiveIdmap, set, clear, propagation } = request;
	return native().tree(
		fd,
		path,
		path === null ? 0 : request.resolve,
		parts.map((part) => part.path),
		parts.flatMap(({ mountId, mode, ns }) => [mountId, mode, ns]),
		recursive,
		recursiveIdmap,
		set,
		clear,
		propagation,
		true,
	);
}

type TreeContext = Pick<PlanContext, "request" | "requested" | "namespaces" | "tried">;

/**
 * Looks at every mount of the source and makes the tree mount by mount. `refusal` is what the kernel said of the whole;
 * for a single mount of which nothing is found that explains it, it is the error.
 */
async function createByMount(context: TreeContext, refusal: Outcome | undefined): Promise<DetachedTree> {
	const { request, tried } = context;
	const mapping = context.requested?.id ?? "";
	const source = await holdSource(request, tried, mapping);
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

/** The tree, or a negative errno when its mounts changed meanwhile. */
async function attemptTree(
	context: TreeContext,
	source: number,
	refusal: Outcome | undefined,
): Promise<DetachedTree | number> {
	const { request, tried, requested } = context;
	const mapping = requested?.id ?? "";
	const mounts = await readSourceTree(source, request.recursive, tried);
	let plan: TreePlan;
	try {
		plan = await planTree({ ...context, source, mounts });
	} catch (error) {
		if (error instanceof TreeChanged) return error.error;
		throw error;
	}
	// A tree is tried mount by mount even so: what refused may be hidden under another mount, and is left out.
	if (!plan.special && refusal !== undefined && !request.recursive) {
		throw mountError(tried, mapping, refusal, mounts[0]);
	}
	const separate = request.separate && plan.parts.length > 1;
	if (!separate && plan.parts.length > 1 && request.propagation === PROPAGATION.shared) {
		throw sharedError(tried, mapping);
	}
	const result = await (separate ? copyEach : copyWhole)(request, source, plan);
	if ("error" in result) {
		if (result.step === "submount") return result.error;
		throw mountError(tried, mapping, result, mounts[0]);
	}
	return (await isUnchanged(mounts, source, request.recursive, tried, result)) ? result : ERRNO.EAGAIN;
}

async function copyWhole(
	request: MountRequest,
	source: number,
	plan: TreePlan,
): Promise<DetachedTree | Outcome> {
	const outcome = await buildPlan(request, source, plan);
	return outcome.error < 0 ? outcome : made(outcome, plan.mapping, plan.skipped);
}

/** Makes each mount of the tree a detached mount of its own. */
async function copyEach(
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
	const asItIs = { ...alone, set: 0, clear: 0, propagation: 0 };
	const isPeer = request.propagation === PROPAGATION.shared;
	const branches: Branch[] = [];
	let root: DetachedTree | undefined;
	for (const part of plan.parts) {
		const outcome = await build(alone, source, null, [part]);
		const copy =
			isPeer && outcome.error >= 0
				? await build(asItIs, source, null, [{ ...part, mode: PART.keep, ns: -1 }])
				: undefined;
		const failed = outcome.error < 0 ? outcome : copy !== undefined && copy.error < 0 ? copy : undefined;
		const peer =
			copy === undefined || copy.fd < 0 ? undefined : new Descriptor(copy.fd, "copy of the source");
		if (outcome.fd >= 0) {
			const mount = made(outcome, plan.mapping, plan.skipped);
			root ??= mount;
			branches.push({ path: part.path, descriptor: mount.descriptor, uniqueId: outcome.uniqueId, peer });
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
		`${tried}: the mounts of this tree need different maps, and such a tree cannot be a peer of its source`,
		{
			hint: 'Set propagation to "slave" or "private", or mount each submount with a separate call.',
			mapping,
			step: "putting the tree together",
		},
	);
}

/** Whether the tree still is what was copied of it; drops the copy when it is not. */
async function isUnchanged(
	mounts: readonly TreeMount[],
	source: number,
	recursive: boolean,
	tried: string,
	result: DetachedTree,
): Promise<boolean> {
	let same = false;
	try {
		same = sameTree(mounts, await readSourceTree(source, recursive, tried));
		return same;
	} finally {
		if (!same) closeTree(result);
	}
}

/** A single part that is all there is needs no second look at what is below it. */
function buildPlan(request: MountRequest, fd: number, plan: TreePlan): Promise<Outcome> {
	const alone = plan.parts.length === 1;
	return build(
		alone ? { ...request, recursive: false, recursiveIdmap: false } : request,
		fd,
		null,
		plan.parts,
	);
}

/** The source as a descriptor, so that what is looked at is what is copied. */
async function holdSource(request: MountRequest, tried: string, mapping: string): Promise<Descriptor> {
	const { source, resolve } = request;
	const held =
		typeof source === "number"
			? native().duplicate(source)
			: await native().openPlace(-1, source, resolve, -1, true);
	if (held.error < 0) throw mountError(tried, mapping, { ...held, step: "open_tree" });
	return new Descriptor(held.fd, "source");
}
