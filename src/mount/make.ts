import type { Mapping } from "../mapping/mapping.ts";
import { cachedDescriptor, type Handles } from "../namespace/handles.ts";
import { knownMapping, type UserNamespace } from "../namespace/user-namespace.ts";
import { Descriptor } from "../native/descriptor.ts";
import { native, type Outcome, PART } from "../native/load.ts";
import { ERRNO } from "../native/steps.ts";
import { withCopy } from "./attach.ts";
import { mountError, triedTo } from "./mount-errors.ts";
import { MapNamespaces } from "./namespaces.ts";
import type { MountAttributes } from "./options.ts";
import { type Part, type Plan, type Planning, planTree, type SkippedMount, TreeChanged } from "./plan.ts";
import { type Place, sameTree, survey } from "./survey.ts";
import { showPlace } from "./target.ts";

/** What is to be made. */
export interface Wanted extends MountAttributes {
	source: string | number;
	/** RESOLVE_… for the source's path. */
	resolve: number;
	/** Where it will be attached, for messages; undefined: nowhere yet. */
	target: string | number | undefined;
	mapping: Mapping | undefined;
	userns: UserNamespace | undefined;
	handles: Handles | undefined;
	unmap: boolean;
	skipUnsupported: boolean;
	/** Where to attach it at once, if nothing has to be waited for; undefined: it is wanted detached, or not that plain. */
	at: { place: string | number; resolve: number } | undefined;
}

/** A tree, and what it shows. */
export interface Made {
	descriptor: Descriptor;
	mountId: number;
	/** Whether it is attached at `at` already; it is detached otherwise. */
	attached: boolean;
	/** The map that the mount has: disk to visible. Undefined for none. */
	mapping: Mapping | undefined;
	skipped: SkippedMount[];
}

/** How often a tree is looked at anew that changes while it is copied. */
const ATTEMPTS = 5;

/**
 * Makes a tree. Most of them take two system calls; only when the kernel refuses those is the source looked at: a mount
 * of it is ID-mapped already, or cannot be.
 */
export async function makeTree(wanted: Wanted): Promise<Made> {
	const namespaces = new MapNamespaces(wanted.handles);
	try {
		const asked = wanted.unmap ? undefined : await namespaces.adopt(wanted);
		const ns = asked === undefined ? -1 : await namespaces.fd(asked);
		const attached = asked === undefined ? undefined : attachAtOnce(wanted, ns, asked);
		if (attached !== undefined) return attached;
		const { source, target } = wanted;
		const shown = target === undefined ? "" : showPlace(target);
		const tried = triedTo(showPlace(source), shown, asked?.id ?? "");
		const careful = { wanted, asked, namespaces, tried };
		if (asked === undefined) return await makeCarefully(careful, undefined);
		const part: Part = { path: "", mountId: 0, mode: PART.map, ns };
		const outcome = await withSource(wanted, (fd, path) => build(wanted, fd, path, [part]));
		if (outcome.error >= 0) return made(outcome, asked, []);
		const refused = outcome.error === ERRNO.EPERM || outcome.error === ERRNO.EINVAL;
		if (outcome.step !== "mount_setattr" || !refused) throw mountError(tried, asked.id, outcome);
		return await makeCarefully(careful, outcome);
	} finally {
		namespaces.close();
	}
}

function made({ fd, mountId }: Outcome, mapping: Mapping | undefined, skipped: SkippedMount[]): Made {
	const descriptor = new Descriptor(fd, "IdmappedMount");
	return { descriptor, mountId, attached: false, mapping, skipped };
}

/**
 * The ordinary case on this thread: waking another one takes longer than the mount. Undefined for whatever refuses, be it
 * only that a look-up would have to wait for a file system: the longer way does it, or says why not.
 */
function attachAtOnce(
	{ source, resolve, at, ...wanted }: Wanted,
	ns: number,
	mapping: Mapping,
): Made | undefined {
	if (at === undefined) return undefined;
	const { set, clear, propagation } = wanted;
	const [sourceFd, sourcePath] = split(source);
	const [targetFd, targetPath] = split(at.place);
	const { error, fd, mountId } = native().quickMount(
		sourceFd,
		sourcePath,
		resolve,
		targetFd,
		targetPath,
		at.resolve,
		ns,
		set,
		clear,
		propagation,
	);
	if (error < 0) return undefined;
	const descriptor = new Descriptor(fd, "IdmappedMount");
	return { descriptor, mountId, attached: true, mapping, skipped: [] };
}

/** The same with a namespace that is there already, so that nothing has to be waited for at all. */
export function makeAtOnce(wanted: Wanted): Made | undefined {
	const { at, mapping, userns, handles } = wanted;
	if (at === undefined) return undefined;
	const known = mapping ?? (userns === undefined ? undefined : knownMapping(userns));
	if (known === undefined || known.uidMappings.length === 0 || known.gidMappings.length === 0)
		return undefined;
	const ns = userns?.fd ?? (handles === undefined ? undefined : cachedDescriptor(handles, known));
	return ns === undefined ? undefined : attachAtOnce(wanted, ns, known);
}

function split(place: string | number): [fd: number, path: string | null] {
	return typeof place === "number" ? [place, null] : [-1, place];
}

function withSource(
	{ source }: Wanted,
	work: (fd: number, path: string | null) => Promise<Outcome>,
): Promise<Outcome> {
	return typeof source === "string"
		? work(-1, source)
		: withCopy(source, (fd) => work(fd, null), "open_tree");
}

/** One call of the C part: a copy of each part, put together. */
function build(wanted: Wanted, fd: number, path: string | null, parts: readonly Part[]): Promise<Outcome> {
	const { recursive, recursiveIdmap, set, clear, propagation } = wanted;
	return native().tree(
		fd,
		path,
		path === null ? 0 : wanted.resolve,
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

type Careful = Pick<Planning, "wanted" | "asked" | "namespaces" | "tried">;

/**
 * Looks at every mount of the source and makes the tree mount by mount. `refusal` is what the kernel said of the whole;
 * for a single mount of which nothing is found that explains it, it is the error.
 */
async function makeCarefully(careful: Careful, refusal: Outcome | undefined): Promise<Made> {
	const { wanted, tried } = careful;
	const mapping = careful.asked?.id ?? "";
	const source = await holdSource(wanted, tried, mapping);
	try {
		let error: number = ERRNO.EAGAIN;
		for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
			const outcome = await attemptTree(careful, source.fd, refusal);
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
	careful: Careful,
	source: number,
	refusal: Outcome | undefined,
): Promise<Made | number> {
	const { wanted, tried, asked } = careful;
	const mapping = asked?.id ?? "";
	const places = survey(source, wanted.recursive, tried);
	let plan: Plan;
	try {
		plan = await planTree({ ...careful, source, places });
	} catch (error) {
		if (error instanceof TreeChanged) return error.error;
		throw error;
	}
	// A tree is tried mount by mount even so: what refused may be hidden under another mount, and is left out.
	if (!plan.special && refusal !== undefined && !wanted.recursive) {
		throw mountError(tried, mapping, refusal, places[0]);
	}
	const outcome = await buildPlan(wanted, source, plan);
	if (outcome.step === "submount") return outcome.error;
	if (outcome.error < 0) throw mountError(tried, mapping, outcome, places[0]);
	const result = made(outcome, plan.mapping, plan.skipped);
	return isSame(places, source, wanted.recursive, tried, result) ? result : ERRNO.EAGAIN;
}

/** Whether the tree still is what was copied of it; drops the copy when it is not. */
function isSame(
	places: readonly Place[],
	source: number,
	recursive: boolean,
	tried: string,
	result: Made,
): boolean {
	let same = false;
	try {
		same = sameTree(places, survey(source, recursive, tried));
		return same;
	} finally {
		if (!same) result.descriptor.close();
	}
}

/** A single part that is all there is needs no second look at what is below it. */
function buildPlan(wanted: Wanted, fd: number, plan: Plan): Promise<Outcome> {
	const alone = plan.parts.length === 1;
	return build(alone ? { ...wanted, recursive: false, recursiveIdmap: false } : wanted, fd, null, plan.parts);
}

/** The source as a descriptor, so that what is looked at is what is copied. */
async function holdSource(wanted: Wanted, tried: string, mapping: string): Promise<Descriptor> {
	const { source, resolve } = wanted;
	const held =
		typeof source === "number"
			? native().duplicate(source)
			: await native().openPlace(-1, source, resolve, true);
	if (held.error < 0) throw mountError(tried, mapping, { ...held, step: "open_tree" });
	return new Descriptor(held.fd, "source");
}
