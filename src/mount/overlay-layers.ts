import { readlinkSync } from "node:fs";
import { show, UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Handles } from "../namespace/handles.ts";
import { native, PART } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { RESOLVE, showLocation } from "./attach-options.ts";
import { createTree } from "./detached-tree.ts";
import { mountError } from "./mount-errors.ts";

const MS_PRIVATE = 1 << 18;
const BELOW = RESOLVE.noSymlinks | RESOLVE.noMagicLinks;

/** A directory as a detached mount with the mapping. */
export async function mappedLayer(
	source: string | number,
	mapping: Mapping,
	handles: Handles,
): Promise<Descriptor> {
	const layer = await createTree({
		source,
		resolve: 0,
		target: undefined,
		mapping,
		userns: undefined,
		handles,
		unmap: false,
		skipUnsupported: false,
		plain: false,
		separate: false,
		recursive: false,
		recursiveIdmap: false,
		nested: "compose",
		...{ set: 0, clear: 0, propagation: MS_PRIVATE },
	});
	return layer.descriptor;
}

/** What takes the writing. */
export interface Upper {
	upper: string | number;
	work: string | number;
	mapped: boolean;
	/** RESOLVE_…. */
	resolve: number;
	/** On a detached mount of their own, as the lower ones are. */
	detached: boolean;
	/**
	 * Checks both layers before they are used, and throws if another overlay uses them. `roots` are detached mounts
	 * that they are on, for this check alone, because the check attaches them in a mount namespace that ends with it.
	 */
	check: (upper: Descriptor, work: Descriptor, roots: readonly number[]) => Promise<void>;
}

/** The upper layer and the work directory as descriptors; what has to be closed goes to `held`. */
export async function upperLayer(
	options: Upper,
	mapping: Mapping,
	handles: Handles,
	tried: string,
	held: Descriptor[],
): Promise<{ upper: Descriptor; work: Descriptor; root?: Descriptor }> {
	const upper = await hold(options.upper, options.resolve, "overlay upper", tried, held);
	const work = await hold(options.work, options.resolve, "overlay work", tried, held);
	if (!options.detached) await options.check(upper, work, []);
	if (!options.mapped && !options.detached) return { upper, work };
	// Both must be on one mount, so it is what holds both that is copied.
	const [upperPath, workPath] = [pathOf(upper.fd, tried), pathOf(work.fd, tried)];
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
	const openLayer = async (root: Descriptor, path: string, original: Descriptor, step: string) => {
		const outcome = await native().openPlace(
			root.fd,
			path.slice(folder === "/" ? 1 : folder.length + 1),
			BELOW,
			-1,
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
	const both = async (root: Descriptor) => {
		held.push(root);
		return {
			upper: await openLayer(root, upperPath, upper, "overlay upper"),
			work: await openLayer(root, workPath, work, "overlay work"),
			root,
		};
	};
	if (options.detached) {
		const asked = await both(await plainCopy(around.fd, tried));
		await options.check(asked.upper, asked.work, [asked.root.fd]);
	}
	return both(
		options.mapped ? await mappedLayer(around.fd, mapping, handles) : await plainCopy(around.fd, tried),
	);
}

/** A detached copy of the mount that the descriptor is on, from that directory on, as it is. */
async function plainCopy(fd: number, tried: string): Promise<Descriptor> {
	const asItIs = [0, PART.keep, -1];
	const outcome = await native().tree(fd, null, 0, [""], asItIs, false, false, 0, 0, MS_PRIVATE, true);
	if (outcome.error < 0) throw mountError(tried, "", outcome);
	return new Descriptor(outcome.fd, "layer");
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
			: await native().openPlace(-1, place, resolve, -1, true);
	if (outcome.error < 0) throw mountError(`${tried} (${showLocation(place)})`, "", { ...outcome, step });
	const descriptor = new Descriptor(outcome.fd, "layer");
	held.push(descriptor);
	return descriptor;
}

function pathOf(fd: number, tried: string): string {
	try {
		return readlinkSync(`/proc/self/fd/${fd}`);
	} catch (cause) {
		throw new UsernsError("ERR_USERNS_MOUNT", `${tried}: a layer's path cannot be read`, {
			hint: "A procfs at /proc is needed.",
			step: "looking at the upper layer",
			cause,
		});
	}
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
