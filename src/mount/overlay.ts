import { readlinkSync } from "node:fs";
import { checkOptions, invalidArgument, show, UsernsError } from "../errors.ts";
import { Mapping, type MappingInput } from "../mapping/mapping.ts";
import { Handles } from "../namespace/handles.ts";
import { Descriptor } from "../native/descriptor.ts";
import { native, type Outcome } from "../native/load.ts";
import {
	ATTRIBUTE_OPTIONS,
	type AttributeOptions,
	type Attributes,
	checkAttributes,
	checkBooleans,
} from "./attributes.ts";
import { attachFresh, HeldMount } from "./idmapped-mount.ts";
import { makeTree } from "./make.ts";
import { mountError, triedTo } from "./mount-errors.ts";
import {
	ATTACH_OPTIONS,
	type AttachOptions,
	checkPlace,
	checkTarget,
	RESOLVE,
	resolveFlags,
	showPlace,
} from "./target.ts";

/** Options of {@link overlay}. */
export interface OverlayOptions extends AttributeOptions, AttachOptions {
	/** The layers that are only read, the topmost first. */
	lower: string | number | readonly (string | number)[];
	/** The layer that takes what is written, and a work directory for it on the same mount. Left out: nothing is written. */
	upper?: string | number;
	work?: string | number;
	/** Where to attach it, a directory. Left out: the overlay stays detached, as a descriptor. */
	target?: string | number;
	/** What the lower layers are mapped with: `containerID` is the ID on disk, `hostID` the visible one. */
	mapping: MappingInput;
	/** The cache to take the namespace from. */
	handles?: Handles;
	/**
	 * Map the upper layer too (default false): then what is copied up and what is new has on disk the IDs that the lower
	 * layers have, `containerID`. Otherwise it has the visible ones, `hostID`. The caller's own IDs must be visible in the
	 * mapping then, since the work directory is made in his name.
	 */
	mapUpper?: boolean;
}

const WHAT = "overlay";
const KNOWN = [
	...["lower", "upper", "work", "target", "mapping", "handles", "mapUpper"],
	...ATTRIBUTE_OPTIONS,
	...ATTACH_OPTIONS,
];
const MS_PRIVATE = 1 << 18;
const BELOW = RESOLVE.noSymlinks | RESOLVE.noMagicLinks;

/** An overlay of ID-mapped layers. */
export class OverlayMount extends HeldMount {
	/** Of the lower layers, disk to visible. */
	readonly mapping: Mapping;

	/** @internal */
	constructor(mount: ConstructorParameters<typeof HeldMount>[0], mapping: Mapping) {
		super(mount);
		this.mapping = mapping;
	}
}

/**
 * Mounts an overlay whose layers are ID-mapped: overlayfs itself refuses a map on many kernels, its layers do not. Each
 * layer is a detached ID-mapped mount that only the overlay knows; the overlay is attached when it is complete, privately.
 * Needs CAP_SYS_ADMIN and Linux 5.19. An overlay that the kernel would silently make read-only is an error.
 * @see mount_setattr(2), fsconfig(2)
 */
export async function overlay(options: OverlayOptions): Promise<OverlayMount> {
	const { layers, attributes, mapping } = check(options);
	const { target } = options;
	const tried = triedTo(
		`an overlay of ${layers.map(showPlace).join(", ")}`,
		target === undefined ? "" : showPlace(target),
		mapping.id,
	);
	const handles = options.handles ?? new Handles();
	const held: Descriptor[] = [];
	try {
		for (const layer of layers) held.push(await mappedLayer(layer, mapping, handles, tried));
		const upper = await upperLayer(options, mapping, handles, tried, held);
		const outcome = await native().overlay(
			held.slice(0, layers.length).map(({ fd }) => fd),
			upper?.upper.fd ?? -1,
			upper?.work.fd ?? -1,
			attributes.set,
			true,
		);
		if (outcome.error < 0) throw mountError(tried, mapping.id, outcome);
		return await adopt(options, outcome, attributes, mapping, tried);
	} finally {
		for (const descriptor of held) descriptor.close();
		if (options.handles === undefined) handles.release();
	}
}

async function adopt(
	options: OverlayOptions,
	outcome: Outcome,
	{ propagation }: Attributes,
	mapping: Mapping,
	tried: string,
): Promise<OverlayMount> {
	const descriptor = new Descriptor(outcome.fd, "OverlayMount");
	const source = tried.replace(/^cannot mount /, "").replace(/ (at|with the mapping) .*$/, "");
	const mount = new OverlayMount(
		{ descriptor, mountId: outcome.mountId, recursive: false, propagation, source, mapping: mapping.id },
		mapping,
	);
	try {
		if (options.target !== undefined) await attachFresh(mount, options.target, options);
		return mount;
	} catch (error) {
		mount.close();
		throw error;
	}
}

function check(options: OverlayOptions): {
	layers: readonly (string | number)[];
	attributes: Attributes;
	mapping: Mapping;
} {
	if (options === undefined) throw invalidArgument(`${WHAT}: the options are missing`);
	checkOptions(WHAT, options, KNOWN);
	const layers = Array.isArray(options.lower) ? options.lower : [options.lower];
	if (layers.length === 0) throw invalidArgument(`${WHAT}: there is no lower layer`);
	for (const layer of layers) checkPlace(`${WHAT}: a lower layer`, layer);
	checkBooleans(WHAT, options, ["mapUpper"]);
	if ((options.upper === undefined) !== (options.work === undefined)) {
		throw invalidArgument(
			`${WHAT}: upper and work come together`,
			"Give both, or neither for a read-only overlay.",
		);
	}
	if (options.upper !== undefined) {
		checkPlace(`${WHAT}: the upper layer`, options.upper);
		checkPlace(`${WHAT}: the work directory`, options.work);
	} else if (options.mapUpper) throw invalidArgument(`${WHAT}: mapUpper is of no use without an upper layer`);
	checkTarget(WHAT, options.target, options);
	if (options.handles !== undefined && !(options.handles instanceof Handles)) {
		throw invalidArgument(`${WHAT}: handles must be a Handles, not ${show(options.handles)}`);
	}
	if (options.mapping === undefined) throw invalidArgument(`${WHAT}: the mapping is missing`);
	const mapping = Mapping.from(options.mapping);
	if (options.mapUpper) checkOwnIds(mapping);
	return { layers, attributes: checkAttributes(WHAT, options), mapping };
}

/** The kernel makes the work directory as the caller, and falls back to a read-only overlay without a word. */
function checkOwnIds(mapping: Mapping): void {
	const uid = process.geteuid?.() ?? 0;
	const gid = process.getegid?.() ?? 0;
	if (mapping.uidToContainer(uid) !== undefined && mapping.gidToContainer(gid) !== undefined) return;
	throw invalidArgument(
		`${WHAT}: with mapUpper the caller's own IDs (uid ${uid}, gid ${gid}) must be among the visible ones of the mapping`,
		"The work directory is made in the caller's name, which has no ID on disk otherwise. Leave mapUpper out, or add an extent for them.",
	);
}

function mappedLayer(
	source: string | number,
	mapping: Mapping,
	handles: Handles,
	tried: string,
): Promise<Descriptor> {
	const layer = makeTree({
		source,
		resolve: 0,
		target: tried.replace(/^cannot mount /, "as a layer of "),
		mapping,
		handles,
		unmap: false,
		skipUnsupported: false,
		recursive: false,
		recursiveIdmap: false,
		nested: "compose",
		...{ set: 0, clear: 0, propagation: MS_PRIVATE },
	});
	return layer.then(({ descriptor }) => descriptor);
}

/** The upper layer and the work directory; what has to be closed goes to `held`. */
async function upperLayer(
	options: OverlayOptions,
	mapping: Mapping,
	handles: Handles,
	tried: string,
	held: Descriptor[],
): Promise<{ upper: Descriptor; work: Descriptor } | undefined> {
	if (options.upper === undefined || options.work === undefined) return undefined;
	const links = resolveFlags(WHAT, options.resolve);
	const upper = await hold(options.upper, links, "overlay upper", tried, held);
	const work = await hold(options.work, links, "overlay work", tried, held);
	if (!options.mapUpper) return { upper, work };
	// Both must be on one mount, so it is what holds both that is mapped.
	const [upperPath, workPath] = [pathOf(upper.fd), pathOf(work.fd)];
	const folder = commonFolder(upperPath, workPath);
	const around = await hold(folder, 0, "overlay upper", tried, held);
	if (mountOf(around.fd) !== mountOf(upper.fd) || mountOf(around.fd) !== mountOf(work.fd)) {
		throw new UsernsError(
			"ERR_USERNS_MOUNT",
			`${tried}: the upper layer and the work directory are on different mounts`,
			{
				hint: "Overlayfs takes both from one mount only: make them two directories of one folder.",
				step: "looking at the upper layer",
			},
		);
	}
	const mapped = await mappedLayer(around.fd, mapping, handles, tried);
	held.push(mapped);
	const inside = async (path: string, original: Descriptor, step: string) => {
		const outcome = await native().openPlace(
			mapped.fd,
			path.slice(folder === "/" ? 1 : folder.length + 1),
			BELOW,
			true,
		);
		if (outcome.error < 0) throw mountError(tried, mapping.id, { ...outcome, step });
		const found = new Descriptor(outcome.fd, "layer");
		held.push(found);
		if (!sameFile(found.fd, original.fd)) {
			throw new UsernsError("ERR_USERNS_MOUNT", `${tried}: ${show(path)} was renamed meanwhile`, {
				hint: "Let the layers be while they are mounted.",
				step: "looking at the upper layer",
			});
		}
		return found;
	};
	return {
		upper: await inside(upperPath, upper, "overlay upper"),
		work: await inside(workPath, work, "overlay work"),
	};
}

async function hold(
	place: string | number,
	resolve: number,
	step: string,
	tried: string,
	held: Descriptor[],
): Promise<Descriptor> {
	const outcome =
		typeof place === "number"
			? native().duplicate(place)
			: await native().openPlace(-1, place, resolve, true);
	if (outcome.error < 0) throw mountError(`${tried} (${showPlace(place)})`, "", { ...outcome, step });
	const descriptor = new Descriptor(outcome.fd, "layer");
	held.push(descriptor);
	return descriptor;
}

function pathOf(fd: number): string {
	return readlinkSync(`/proc/self/fd/${fd}`);
}

/** The deepest folder that both paths are in, and that is neither of them. */
function commonFolder(a: string, b: string): string {
	const [left, right] = [a.split("/"), b.split("/")];
	let length = 0;
	while (length < left.length - 1 && length < right.length - 1 && left[length] === right[length]) length++;
	return left.slice(0, length).join("/") || "/";
}

function mountOf(fd: number): bigint | number {
	const facts = native().mountFacts(fd);
	return typeof facts === "number" ? facts : facts[0];
}

function sameFile(a: number, b: number): boolean {
	const [first, second] = [native().identify(a), native().identify(b)];
	if (typeof first === "number" || typeof second === "number") return false;
	return first[0] === second[0] && first[1] === second[1];
}
