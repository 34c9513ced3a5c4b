import { show, UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Handles } from "../namespace/handles.ts";
import type { UserNamespace } from "../namespace/user-namespace.ts";
import { native, type Outcome, PART } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { type AttachOptions, RESOLVE, resolveFlags } from "./attach-options.ts";
import { PROPAGATION } from "./attributes.ts";
import { createTree } from "./detached-tree.ts";
import { type Location, openLocation, pathOf, showLocation } from "./location.ts";
import { mountError } from "./mount-errors.ts";
import { checkMountOptions } from "./mount-options.ts";

const BELOW = RESOLVE.noSymlinks | RESOLVE.noMagicLinks;

/** The map of the layers: a mapping, with the cache that provides its namespace; or the namespace itself, with its mapping. */
export interface LayerMap {
	mapping: Mapping;
	handles: Handles;
	userns: UserNamespace | undefined;
}

/** Mounts a directory, detached, with the map. `resolve` applies to a path. */
async function mappedLayer(
	source: Location,
	{ mapping, handles, userns }: LayerMap,
	resolve?: AttachOptions["resolve"],
): Promise<Descriptor> {
	const links = resolve === undefined ? {} : { resolve };
	const map = userns === undefined ? { mapping, handles } : { userns };
	const layer = await createTree(checkMountOptions({ source, ...map, ...links }));
	return layer.descriptor;
}

/** The lower layers as the add-on takes them, and the detached mounts that they are on. */
export interface LowerLayers {
	fds: number[];
	roots: number[];
}

/**
 * Maps the lower layers. If all of them are paths to one mount, a copy of that mount is mapped once, from the deepest directory on
 * that contains them, and the layers are opened in it. Otherwise, and if any step of it fails, each layer is mapped separately, so
 * that the error names the layer. Adds each descriptor that must be closed to `held`.
 */
export async function lowerLayers(
	layers: readonly Location[],
	map: LayerMap,
	resolve: AttachOptions["resolve"],
	held: Descriptor[],
): Promise<LowerLayers> {
	// The path of a descriptor can lead to another directory when it is looked up again.
	const arePaths = layers.every((layer) => typeof layer === "string");
	const together =
		arePaths && layers.length >= LEAST_TOGETHER ? await mapTogether(layers, map, resolve) : undefined;
	if (together !== undefined) {
		held.push(together.root, ...together.layers);
		return { fds: together.layers.map(({ fd }) => fd), roots: [together.root.fd] };
	}
	const fds: number[] = [];
	for (const layer of layers) {
		const mapped = await mappedLayer(layer, map, resolve);
		held.push(mapped);
		fds.push(mapped.fd);
	}
	return { fds, roots: fds };
}

/** Fewer layers are mapped separately, because opening each of them twice takes longer then. */
const LEAST_TOGETHER = 4;

/** Where a layer was found: its path without symbolic links, and the mount that it is on. */
interface Found {
	path: string;
	mount: bigint;
}

async function mapTogether(
	layers: readonly Location[],
	map: LayerMap,
	resolve: AttachOptions["resolve"],
): Promise<{ root: Descriptor; layers: Descriptor[] } | undefined> {
	const opened: (Descriptor | undefined)[] = [];
	let root: Descriptor | undefined;
	let kept = false;
	try {
		const flags = resolveFlags("overlay", resolve);
		const found = await findAll(layers, flags);
		const mount = found?.[0]?.mount;
		if (found === undefined || !found.every((layer) => layer.mount === mount)) return undefined;
		const directory = commonDirectory(found.map(({ path }) => path));
		root = await mapDirectory(directory, mount, map);
		if (root === undefined) return undefined;
		const { fd } = root;
		opened.push(...(await openAll(found, ({ path }) => openBelow(fd, directory, path))));
		if (opened.includes(undefined)) return undefined;
		kept = true;
		return { root, layers: opened as Descriptor[] };
	} finally {
		if (!kept) for (const descriptor of [root, ...opened]) descriptor?.close();
	}
}

/** Opens all at once, and returns undefined for each that fails. */
async function openAll<T>(
	all: readonly T[],
	open: (each: T) => Promise<Outcome>,
): Promise<(Descriptor | undefined)[]> {
	const outcomes = await Promise.all(all.map(open));
	return outcomes.map(({ error, fd }) => (error < 0 ? undefined : new Descriptor(fd, "layer")));
}

async function findAll(layers: readonly Location[], resolve: number): Promise<Found[] | undefined> {
	const opened = await openAll(layers, (layer) => openLocation(layer, resolve));
	try {
		const found = opened.map((layer) => (layer === undefined ? undefined : find(layer.fd)));
		return found.every((each) => each !== undefined) ? found : undefined;
	} finally {
		for (const layer of opened) layer?.close();
	}
}

function find(fd: number): Found | undefined {
	const mount = mountOf(fd);
	return mount === undefined ? undefined : { path: pathOf(fd, "a lower layer", "overlay"), mount };
}

/** A mapped copy of the mount, from the directory on; undefined if the directory is on another mount or cannot be mapped. */
async function mapDirectory(
	path: string,
	mount: bigint | undefined,
	map: LayerMap,
): Promise<Descriptor | undefined> {
	const [directory] = await openAll([path], (each) => openLocation(each, BELOW));
	try {
		if (directory === undefined || mountOf(directory.fd) !== mount) return undefined;
		return await mappedLayer(directory.fd, map);
	} catch (error) {
		if (error instanceof UsernsError) return undefined;
		throw error;
	} finally {
		directory?.close();
	}
}

/** Opens a path that is below `directory` in a copy of the mount of that directory, without a symbolic link. */
function openBelow(root: number, directory: string, path: string): Promise<Outcome> {
	return native().openLocation(
		root,
		path.slice(directory === "/" ? 1 : directory.length + 1),
		BELOW,
		-1,
		false,
	);
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
	map: LayerMap,
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
	const directory = commonDirectory([upperPath, workPath]);
	const around = await hold(directory, 0, "overlay upper", tried, held);
	const mount = mountOf(around.fd);
	if (mount === undefined || mount !== mountOf(upper.fd) || mount !== mountOf(work.fd)) {
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
		const outcome = await openBelow(root.fd, directory, path);
		if (outcome.error < 0) throw mountError(tried, map.mapping.id, { ...outcome, step });
		const found = new Descriptor(outcome.fd, "layer");
		held.push(found);
		const file = fileOf(found.fd);
		if (file === undefined || file !== fileOf(original.fd)) {
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
	return both(options.mapped ? await mappedLayer(around.fd, map) : await plainCopy(around.fd, tried));
}

/** Throws if one of the layers is not a directory, because the kernel's error does not name the layer. */
export async function refuseFiles(
	layers: readonly { words: string; given: Location; fd: number }[],
	tried: string,
): Promise<void> {
	for (const { words, given, fd } of layers) {
		const itself = await native().openLocation(fd, ".", 0, -1, false);
		if (itself.error >= 0) native().close(itself.fd);
		if (itself.error !== ERRNO.ENOTDIR) continue;
		throw new UsernsError(
			"ERR_USERNS_MOUNT",
			`${tried}: ${words} ${showLocation(given)} is not a directory`,
			{
				hint: "Use directories as layers.",
				errno: ERRNO.ENOTDIR,
				syscall: "openat2",
				step: "opening the layers",
			},
		);
	}
}

/** The most layers that a message names. */
const MOST_NAMED = 4;

/** The layers in a message, of which two are named if there are many. */
export function layerWords(layers: readonly Location[]): string {
	const named = layers.length > MOST_NAMED ? layers.slice(0, 2) : layers;
	const rest = layers.length - named.length;
	return `${named.map(showLocation).join(", ")}${rest === 0 ? "" : ` and ${rest} more layers`}`;
}

/** Copies a descriptor's mount, from that directory on, without a change. */
async function plainCopy(fd: number, tried: string): Promise<Descriptor> {
	const unchanged = [0, PART.keep, -1];
	const outcome = await native().tree(
		fd,
		null,
		0,
		[""],
		unchanged,
		false,
		false,
		0,
		0,
		PROPAGATION.private,
		-1,
	);
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

/** The deepest directory that contains all paths and is none of them. */
function commonDirectory(paths: readonly string[]): string {
	const [first = [], ...others] = paths.map((path) => path.split("/"));
	let length = first.length - 1;
	for (const other of others) {
		let same = 0;
		while (same < length && same < other.length - 1 && first[same] === other[same]) same++;
		length = same;
	}
	return first.slice(0, length).join("/") || "/";
}

/** The unique ID of the mount that a file is on; before Linux 6.8, the ID of mountinfo. */
function mountOf(fd: number): bigint | undefined {
	const ids = native().mountIds(fd);
	return typeof ids === "number" ? undefined : ids[1] || ids[0];
}

/** The device and inode of a file. */
function fileOf(fd: number): string | undefined {
	const identity = native().identify(fd);
	return typeof identity === "number" ? undefined : `${identity[0]}:${identity[1]}`;
}
