import { show, UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Handles } from "../namespace/handles.ts";
import { native, PART } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { type AttachOptions, RESOLVE } from "./attach-options.ts";
import { PROPAGATION } from "./attributes.ts";
import { createTree } from "./detached-tree.ts";
import { type Location, openLocation, pathOf, showLocation } from "./location.ts";
import { mountError } from "./mount-errors.ts";
import { checkMountOptions } from "./mount-options.ts";

const BELOW = RESOLVE.noSymlinks | RESOLVE.noMagicLinks;

/** Mounts a directory, detached, with the mapping. `resolve` applies to a path. */
export async function mappedLayer(
	source: Location,
	mapping: Mapping,
	handles: Handles,
	resolve?: AttachOptions["resolve"],
): Promise<Descriptor> {
	const links = resolve === undefined ? {} : { resolve };
	const layer = await createTree(checkMountOptions({ source, mapping, handles, ...links }));
	return layer.descriptor;
}

/** The upper layer and the work directory. */
export interface Upper {
	upper: Location;
	work: Location;
	mapped: boolean;
	/** RESOLVE_…. */
	resolve: number;
	/** Whether the layers get a separate detached mount, like the lower layers. */
	detached: boolean;
	/**
	 * Throws if another overlay uses the layers. `roots` are detached mounts of the layers for this check alone, because the
	 * check attaches them in its own mount namespace.
	 */
	check: (upper: Descriptor, work: Descriptor, roots: readonly number[]) => Promise<void>;
}

/** Opens the upper layer and the work directory. Adds each descriptor that must be closed to `held`. */
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
	// Both must be on one mount, so the directory that contains both is copied.
	const [upperPath, workPath] = [
		pathOf(upper.fd, "the upper layer", tried),
		pathOf(work.fd, "the work directory", tried),
	];
	const directory = commonDirectory(upperPath, workPath);
	const around = await hold(directory, 0, "overlay upper", tried, held);
	if (mountOf(around.fd) !== mountOf(upper.fd) || mountOf(around.fd) !== mountOf(work.fd)) {
		throw new UsernsError(
			"ERR_USERNS_MOUNT",
			`${tried}: the upper layer and the work directory are on different mounts`,
			{
				hint: "Create both on one mount, because overlayfs requires it: for example in one directory.",
				step: "comparing the mounts of the layers",
			},
		);
	}
	const openLayer = async (root: Descriptor, path: string, original: Descriptor, step: string) => {
		const outcome = await native().openLocation(
			root.fd,
			path.slice(directory === "/" ? 1 : directory.length + 1),
			BELOW,
			-1,
		);
		if (outcome.error < 0) throw mountError(tried, mapping.id, { ...outcome, step });
		const found = new Descriptor(outcome.fd, "layer");
		held.push(found);
		if (!sameFile(found.fd, original.fd)) {
			throw new UsernsError("ERR_USERNS_MOUNT", `${tried}: ${show(path)} was renamed during the call`, {
				hint: "Do not rename the layers during the call.",
				step: "comparing the layers",
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

/** Copies a descriptor's mount, from that directory on, without a change. */
async function plainCopy(fd: number, tried: string): Promise<Descriptor> {
	const unchanged = [0, PART.keep, -1];
	const outcome = await native().tree(fd, null, 0, [""], unchanged, false, false, 0, 0, PROPAGATION.private);
	if (outcome.error < 0) throw mountError(tried, "", outcome);
	return new Descriptor(outcome.fd, "layer");
}

async function hold(
	location: Location,
	resolve: number,
	step: string,
	tried: string,
	held: Descriptor[],
): Promise<Descriptor> {
	const outcome = await openLocation(location, resolve);
	if (outcome.error < 0) throw mountError(`${tried} (${showLocation(location)})`, "", { ...outcome, step });
	const descriptor = new Descriptor(outcome.fd, "layer");
	held.push(descriptor);
	return descriptor;
}

/** The deepest directory that contains both paths and is neither of them. */
function commonDirectory(a: string, b: string): string {
	const [left, right] = [a.split("/"), b.split("/")];
	let length = 0;
	while (length < left.length - 1 && length < right.length - 1 && left[length] === right[length]) length++;
	return left.slice(0, length).join("/") || "/";
}

function mountOf(fd: number): bigint | number {
	const ids = native().mountIds(fd);
	return typeof ids === "number" ? ids : ids[0];
}

function sameFile(a: number, b: number): boolean {
	const [first, second] = [native().identify(a), native().identify(b)];
	if (typeof first === "number" || typeof second === "number") return false;
	return first[0] === second[0] && first[1] === second[1];
}
