import { invalidArgument } from "../errors.ts";
import { inspectAs } from "../mapping/inspect.ts";
import { Mapping, type MappingInput } from "../mapping/mapping.ts";
import { Handles } from "../namespace/handles.ts";
import type { UserNamespace } from "../namespace/user-namespace.ts";
import { native, type Outcome } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { overflowId } from "../native/lookup.ts";
import { copyOptions, ownMap } from "../options.ts";
import { ATTACH_OPTIONS, type AttachOptions, checkTarget, resolveFlags } from "./attach-options.ts";
import {
	ATTRIBUTE_OPTIONS,
	type AttributeOptions,
	type Attributes,
	checkAttributes,
	checkBooleans,
} from "./attributes.ts";
import { attachFresh, HeldMount, type NewMount } from "./idmapped-mount.ts";
import { checkLocation, type Location, showLocation } from "./location.ts";
import { mountError, triedTo } from "./mount-errors.ts";
import { checkNamespace } from "./mount-options.ts";
import { Claim, refuseInUse } from "./overlay-in-use.ts";
import {
	type LayerMap,
	layerWords,
	lowerLayers,
	refuseFiles,
	type Upper,
	upperLayer,
} from "./overlay-layers.ts";

/** Options of {@link overlay}. */
export interface OverlayOptions extends AttributeOptions, AttachOptions {
	/** The lower layers, which are only read: one or more directories, the topmost first. */
	lower: string | number | readonly (string | number)[];
	/**
	 * The layer to which changes are written. Without `upper` and `work` the overlay is read-only. An upper layer or work
	 * directory of another overlay is refused (EBUSY).
	 */
	upper?: string | number | undefined;
	/** An empty directory on the mount of the upper layer, for overlayfs itself. */
	work?: string | number | undefined;
	/** Where to attach it, a directory. If not set, the overlay stays detached. */
	target?: string | number | undefined;
	/** The mapping of the lower layers: `containerID` is the ID on disk, `hostID` the visible ID. Alternative: `userns`. */
	mapping?: MappingInput | undefined;
	/** A user namespace with the mapping, instead of `mapping`. The caller continues to own it and may close it after the call. */
	userns?: UserNamespace | undefined;
	/** The cache to take the user namespace of `mapping` from. */
	handles?: Handles | undefined;
	/**
	 * Maps the upper layer too (default false): new and copied files have the IDs of the lower layers on disk, `containerID`.
	 * Without it they have the visible IDs, `hostID`. The mapping must then have the caller's own IDs as visible ones,
	 * because the kernel creates files in the work directory with them.
	 */
	mapUpper?: boolean | undefined;
	/**
	 * Leaves the owner and mode of a new upper layer as they are (default false). Without it a new upper layer gets those of the topmost
	 * lower layer, as visible, because they are those of the overlay's root directory. A new one is empty and, as far as the kernel
	 * tells (Linux 6.6), was the upper layer of no overlay yet. Any other upper layer is never changed.
	 */
	keepUpper?: boolean | undefined;
}

const WHAT = "overlay";
/** OVL_MAX_STACK in fs/overlayfs/params.h. */
const MOST_LAYERS = 500;
/** The names, complete by their type. */
const OWN_OPTIONS = Object.keys({
	lower: true,
	upper: true,
	work: true,
	target: true,
	mapping: true,
	userns: true,
	handles: true,
	mapUpper: true,
	keepUpper: true,
} satisfies Record<Exclude<keyof OverlayOptions, keyof AttributeOptions | keyof AttachOptions>, true>);
const OPTIONS = [...OWN_OPTIONS, ...ATTRIBUTE_OPTIONS, ...ATTACH_OPTIONS];

let adoptOverlay: (mount: NewMount, mapping: Mapping) => OverlayMount;

/** An overlay of ID-mapped layers. Its descriptor keeps it mounted, like that of an {@link IdmappedMount}. */
export class OverlayMount extends HeldMount {
	/** The map of the lower layers, disk to visible. */
	readonly mapping: Mapping;

	private constructor(mount: NewMount, mapping: Mapping) {
		super(mount, undefined);
		this.mapping = mapping;
	}

	static {
		adoptOverlay = (mount, mapping) => new OverlayMount(mount, mapping);
	}
}

/**
 * Mounts an overlay of ID-mapped layers, because overlayfs itself cannot be ID-mapped on many kernels. Each layer is a detached
 * ID-mapped mount. The overlay is attached after it is created. Needs CAP_SYS_ADMIN and Linux 5.19. Throws
 * `ERR_USERNS_INVALID_ARGUMENT`, `ERR_USERNS_INVALID_MAPPING` and `ERR_USERNS_MOUNT`, also for an overlay with an upper layer that
 * the kernel would make read-only without an error.
 * @see mount_setattr(2), fsconfig(2)
 */
export async function overlay(given: OverlayOptions): Promise<OverlayMount> {
	const { mount, acknowledge } = await createOverlay(given);
	acknowledge();
	return mount;
}

/** `acknowledge` is called last, because closing the layers takes milliseconds in which this thread may be terminated. */
async function createOverlay(given: OverlayOptions): Promise<UnacknowledgedOverlay> {
	const { options, layers, attributes, mapping } = checkOverlayOptions(given);
	const handles = options.handles ?? new Handles();
	const userns = options.userns?.dup(); // the caller can close its own during the call
	try {
		const map = { mapping: mapping ?? (await (userns as UserNamespace).mapping()), userns, handles };
		if (userns !== undefined && options.mapUpper) checkOwnIds(map.mapping);
		return await createMapped(options, layers, attributes, map);
	} finally {
		userns?.close();
		if (options.handles === undefined) handles.release();
	}
}

async function createMapped(
	options: OverlayOptions,
	layers: readonly Location[],
	attributes: Attributes,
	map: LayerMap,
): Promise<UnacknowledgedOverlay> {
	const { target } = options;
	const source = `an overlay of ${layerWords(layers)}`;
	const tried = triedTo(source, target === undefined ? "" : showLocation(target), map.mapping.id);
	const held: Descriptor[] = [];
	let claim: Claim | undefined;
	try {
		const lower = await lowerLayers(layers, map, options.resolve, held);
		const { upper, work, mapUpper: mapped = false } = options;
		const check: Upper["check"] = async (upperLayer, workLayer, roots) => {
			const both = {
				upper: { given: upper as Location, fd: upperLayer.fd },
				work: { given: work as Location, fd: workLayer.fd },
			};
			claim ??= new Claim(both, tried);
			await refuseInUse(both, roots, tried);
		};
		const make = async (detached: boolean) => {
			const resolve = resolveFlags(WHAT, options.resolve);
			const writable =
				upper === undefined || work === undefined
					? undefined
					: await upperLayer({ upper, work, mapped, resolve, detached, check }, map, tried, held);
			const roots = detached
				? [...lower.roots, ...(writable?.root === undefined ? [] : [writable.root.fd])]
				: [];
			const fds = { upper: writable?.upper.fd ?? -1, work: writable?.work.fd ?? -1 };
			const prepare = writable !== undefined && !options.keepUpper;
			const outcome = await native().overlay(
				lower.fds,
				fds.upper,
				fds.work,
				attributes.set,
				attributes.clear,
				roots,
				false,
				prepare,
				prepare ? overflowId("uid") : 0,
				prepare ? overflowId("gid") : 0,
			);
			return { outcome, fds };
		};
		let made = await make(false);
		// Before Linux 6.15 the kernel returns EINVAL for layers on detached mounts.
		const needsAttached = made.outcome.step === "overlay create" && made.outcome.error === ERRNO.EINVAL;
		if (needsAttached) made = await make(true);
		const { outcome, fds } = made;
		if (outcome.error < 0) {
			const all = layers.map((given, i) => ({ words: "the lower layer", given, fd: lower.fds[i] as number }));
			if (upper !== undefined) all.push({ words: "the upper layer", given: upper, fd: fds.upper });
			if (work !== undefined) all.push({ words: "the work directory", given: work, fd: fds.work });
			await refuseFiles(all, tried);
			throw mountError(tried, map.mapping.id, outcome);
		}
		const created = await adopt(options, outcome, attributes, map.mapping, source);
		claim?.keep(created.mount);
		return created;
	} finally {
		claim?.release();
		for (const descriptor of held) descriptor.close();
	}
}

/** An overlay, and the function that acknowledges it, see `attachFresh`. */
interface UnacknowledgedOverlay {
	mount: OverlayMount;
	acknowledge: () => void;
}

async function adopt(
	options: OverlayOptions,
	outcome: Outcome,
	{ propagation }: Attributes,
	mapping: Mapping,
	source: string,
): Promise<UnacknowledgedOverlay> {
	const descriptor = new Descriptor(outcome.fd, "OverlayMount");
	const mount = adoptOverlay(
		{
			descriptor,
			mountId: outcome.mountId,
			uniqueId: outcome.uniqueId,
			recursive: false,
			propagation,
			source: "",
			words: source,
			mapping: mapping.id,
		},
		mapping,
	);
	try {
		const { target } = options;
		return {
			mount,
			acknowledge: target === undefined ? () => {} : await attachFresh(mount, target, options),
		};
	} catch (error) {
		mount.close();
		throw error;
	}
}

/** Copies and checks all options, before any system call. */
export function checkOverlayOptions(given: OverlayOptions): {
	options: OverlayOptions;
	layers: readonly Location[];
	attributes: Attributes;
	/** Undefined if the options have a namespace instead. */
	mapping: Mapping | undefined;
} {
	if (given === undefined) throw invalidArgument(`${WHAT}: the options are missing`);
	const options = copyOptions<OverlayOptions>(WHAT, given, OPTIONS);
	const { lower } = options;
	const layers = ownMap<Location>(Array.isArray(lower) ? lower : [lower], (layer) => {
		checkLocation(`${WHAT}: a lower layer`, layer);
		return layer;
	});
	if (layers.length === 0) throw invalidArgument(`${WHAT}: there is no lower layer`);
	if (layers.length > MOST_LAYERS) {
		throw invalidArgument(
			`${WHAT}: there are ${layers.length} lower layers, and the kernel accepts at most ${MOST_LAYERS}`,
			"Merge layers: copy the files of several into one directory.",
		);
	}
	checkBooleans(WHAT, options, ["mapUpper", "keepUpper"]);
	if (layers.length === 1 && options.upper === undefined && options.work === undefined) {
		throw invalidArgument(
			`${WHAT}: an overlay needs two lower layers, or one and an upper layer`,
			"Mount a single directory with mountIdmapped({ readonly: true }).",
		);
	}
	if ((options.upper === undefined) !== (options.work === undefined)) {
		throw invalidArgument(
			`${WHAT}: upper and work must be set together`,
			"Set both, or neither for a read-only overlay.",
		);
	}
	if (options.upper !== undefined) {
		checkLocation(`${WHAT}: the upper layer`, options.upper);
		checkLocation(`${WHAT}: the work directory`, options.work);
	} else {
		for (const name of ["mapUpper", "keepUpper"] as const) {
			if (!options[name]) continue;
			const hint = `Set upper and work, or leave ${name} out.`;
			throw invalidArgument(`${WHAT}: ${name} needs an upper layer`, hint);
		}
	}
	checkTarget(WHAT, options.target, options);
	checkNamespace(WHAT, options);
	const mapping = options.mapping === undefined ? undefined : Mapping.from(options.mapping);
	if (mapping !== undefined && options.mapUpper) checkOwnIds(mapping);
	return { options, layers, attributes: checkAttributes(WHAT, options), mapping };
}

/** The kernel creates files in the work directory with the caller's IDs. If it cannot, it makes the overlay read-only without an error. */
function checkOwnIds(mapping: Mapping): void {
	const uid = process.geteuid?.() ?? 0;
	const gid = process.getegid?.() ?? 0;
	if (mapping.uidToContainer(uid) !== undefined && mapping.gidToContainer(gid) !== undefined) return;
	throw invalidArgument(
		`${WHAT}: with mapUpper the caller's own IDs (uid ${uid}, gid ${gid}) must be among the visible IDs of the mapping`,
		"Add an extent for them, or leave mapUpper out: the kernel creates files in the work directory with these IDs.",
	);
}

inspectAs(OverlayMount.prototype, "OverlayMount", ({ target, mountId, closed }) => ({
	target,
	mountId,
	closed,
}));
