import { invalidArgument, show } from "../errors.ts";
import { Mapping, type MappingInput } from "../mapping/mapping.ts";
import { Handles } from "../namespace/handles.ts";
import { native, type Outcome } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { copyOptions, ownMap } from "../options.ts";
import {
	ATTACH_OPTIONS,
	type AttachOptions,
	checkLocation,
	checkTarget,
	resolveFlags,
	showLocation,
} from "./attach-options.ts";
import {
	ATTRIBUTE_OPTIONS,
	type AttributeOptions,
	type Attributes,
	checkAttributes,
	checkBooleans,
} from "./attributes.ts";
import { attachFresh, HeldMount, type NewMount } from "./idmapped-mount.ts";
import { mountError, triedTo } from "./mount-errors.ts";
import { Claim, refuseInUse } from "./overlay-in-use.ts";
import { mappedLayer, type Upper, upperLayer } from "./overlay-layers.ts";

/** Options of {@link overlay}. */
export interface OverlayOptions extends AttributeOptions, AttachOptions {
	/** The layers that are only read, the topmost first. */
	lower: string | number | readonly (string | number)[];
	/**
	 * The layer that takes what is written, and a work directory for it on the same mount. If left out, the overlay is
	 * read-only. An upper layer or work directory of another overlay is refused (EBUSY).
	 */
	upper?: string | number | undefined;
	work?: string | number | undefined;
	/** Where to attach it, a directory. Left out: the overlay stays detached, as a descriptor. */
	target?: string | number | undefined;
	/** What the lower layers are mapped with: `containerID` is the ID on disk, `hostID` the visible one. */
	mapping: MappingInput;
	/** The cache to take the namespace from. */
	handles?: Handles | undefined;
	/**
	 * Map the upper layer too (default false): then what is copied up and what is new has on disk the IDs that the lower
	 * layers have, `containerID`. Otherwise it has the visible ones, `hostID`. The caller's own IDs must be visible in the
	 * mapping then, since the work directory is made in his name.
	 */
	mapUpper?: boolean | undefined;
}

const WHAT = "overlay";
const KNOWN = [
	...["lower", "upper", "work", "target", "mapping", "handles", "mapUpper"],
	...ATTRIBUTE_OPTIONS,
	...ATTACH_OPTIONS,
];

let adoptOverlay: (mount: NewMount, mapping: Mapping) => OverlayMount;

/** An overlay of ID-mapped layers. Its descriptor keeps it, as that of an {@link IdmappedMount} does. */
export class OverlayMount extends HeldMount {
	/** Of the lower layers, disk to visible. */
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
 * Mounts an overlay whose layers are ID-mapped: overlayfs itself refuses a map on many kernels, its layers do not. Each
 * layer is a detached ID-mapped mount that only the overlay knows; the overlay is attached when it is complete, privately.
 * Needs CAP_SYS_ADMIN and Linux 5.19. An overlay that the kernel would silently make read-only is an error.
 * @see mount_setattr(2), fsconfig(2)
 */
export async function overlay(given: OverlayOptions): Promise<OverlayMount> {
	const { options, layers, attributes, mapping } = checkOverlayOptions(given);
	const { target } = options;
	const source = `an overlay of ${layers.map(showLocation).join(", ")}`;
	const tried = triedTo(source, target === undefined ? "" : showLocation(target), mapping.id);
	const handles = options.handles ?? new Handles();
	const held: Descriptor[] = [];
	let claim: Claim | undefined;
	try {
		for (const layer of layers) held.push(await mappedLayer(layer, mapping, handles));
		const lower = held.slice(0, layers.length).map(({ fd }) => fd);
		const { upper, work, mapUpper: mapped = false } = options;
		const check: Upper["check"] = async (upperLayer, workLayer, roots) => {
			const both = {
				upper: { given: upper as string | number, fd: upperLayer.fd },
				work: { given: work as string | number, fd: workLayer.fd },
			};
			claim ??= new Claim(both, tried);
			await refuseInUse(both, roots, tried);
		};
		const make = async (detached: boolean) => {
			const resolve = resolveFlags(WHAT, options.resolve);
			const writable =
				upper === undefined || work === undefined
					? undefined
					: await upperLayer(
							{ upper, work, mapped, resolve, detached, check },
							mapping,
							handles,
							tried,
							held,
						);
			const roots = detached ? [...lower, ...(writable?.root === undefined ? [] : [writable.root.fd])] : [];
			return native().overlay(
				lower,
				writable?.upper.fd ?? -1,
				writable?.work.fd ?? -1,
				attributes.set,
				attributes.clear,
				roots,
				false,
				true,
			);
		};
		let outcome = await make(false);
		// Before Linux 6.15 that says no more than that layers on detached mounts are refused.
		const needsAttached = outcome.step === "overlay create" && outcome.error === ERRNO.EINVAL;
		if (needsAttached) outcome = await make(true);
		if (outcome.error < 0) throw mountError(tried, mapping.id, outcome);
		const mount = await adopt(options, outcome, attributes, mapping, source);
		claim?.keep(mount);
		return mount;
	} finally {
		claim?.release();
		for (const descriptor of held) descriptor.close();
		if (options.handles === undefined) handles.release();
	}
}

async function adopt(
	options: OverlayOptions,
	outcome: Outcome,
	{ propagation }: Attributes,
	mapping: Mapping,
	source: string,
): Promise<OverlayMount> {
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
		if (options.target !== undefined) {
			const acknowledge = await attachFresh(mount, options.target, options);
			acknowledge();
		}
		return mount;
	} catch (error) {
		mount.close();
		throw error;
	}
}

/** Checks every option; nothing was asked of the kernel yet. */
export function checkOverlayOptions(given: OverlayOptions): {
	/** The copy. */
	options: OverlayOptions;
	layers: readonly (string | number)[];
	attributes: Attributes;
	mapping: Mapping;
} {
	if (given === undefined) throw invalidArgument(`${WHAT}: the options are missing`);
	const options = copyOptions<OverlayOptions>(WHAT, given, KNOWN);
	const { lower } = options;
	const layers = ownMap(Array.isArray(lower) ? lower : [lower], (layer) => {
		checkLocation(`${WHAT}: a lower layer`, layer);
		return layer;
	});
	if (layers.length === 0) throw invalidArgument(`${WHAT}: there is no lower layer`);
	checkBooleans(WHAT, options, ["mapUpper"]);
	if (layers.length === 1 && options.upper === undefined && options.work === undefined) {
		throw invalidArgument(
			`${WHAT}: a single lower layer without an upper one is no overlay`,
			"mountIdmapped shows one directory, with readonly: true as it would be here.",
		);
	}
	if ((options.upper === undefined) !== (options.work === undefined)) {
		throw invalidArgument(
			`${WHAT}: upper and work come together`,
			"Give both, or neither for a read-only overlay.",
		);
	}
	if (options.upper !== undefined) {
		checkLocation(`${WHAT}: the upper layer`, options.upper);
		checkLocation(`${WHAT}: the work directory`, options.work);
	} else if (options.mapUpper) throw invalidArgument(`${WHAT}: mapUpper is of no use without an upper layer`);
	checkTarget(WHAT, options.target, options);
	if (options.handles !== undefined && !(options.handles instanceof Handles)) {
		throw invalidArgument(`${WHAT}: handles must be a Handles, not ${show(options.handles)}`);
	}
	if (options.mapping === undefined) throw invalidArgument(`${WHAT}: the mapping is missing`);
	const mapping = Mapping.from(options.mapping);
	if (options.mapUpper) checkOwnIds(mapping);
	return { options, layers, attributes: checkAttributes(WHAT, options), mapping };
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
