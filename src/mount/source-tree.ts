import { PATH_MAX, UsernsError } from "../errors.ts";
import { native } from "../native/addon.ts";
import { runAsync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { findMount } from "./find-mount.ts";
import { pathOf } from "./location.ts";
import type { MountRequest } from "./mount-options.ts";
import { childrenOf, descendants, isIdmapped, type MountEntry, readMounts } from "./mountinfo.ts";

/** One mount of a source. */
export interface TreeMount {
	/** The path below the source; "" for the source itself. */
	path: string;
	/** As in mountinfo. */
	mountId: number;
	mountPoint: string;
	fsType: string;
	/** Undefined for a mount that is not in this mount namespace. */
	idmapped: boolean | undefined;
}

/**
 * Reads the mounts that can be reached from a source, parents first. A mount that another one covers, or whose directory was
 * removed, is left out; an unbindable mount and the mounts below it too, as in the kernel (copy_tree in fs/namespace.c).
 */
export async function readSourceTree(
	fd: number,
	{ recursive, fromNs }: Pick<MountRequest, "recursive" | "fromNs">,
	tried: string,
): Promise<TreeMount[]> {
	const ids = native().mountIds(fd);
	if (typeof ids === "number") throw kernelError("ERR_USERNS_MOUNT", tried, { error: ids, step: "statx" });
	const id = Number(ids[0]);
	const entries = recursive ? await runAsync(readMounts(fromNs, "ERR_USERNS_MOUNT", tried)) : [];
	const own = recursive
		? entries.find((entry) => entry.id === id)
		: await runAsync(findMount(fd, fromNs, "ERR_USERNS_MOUNT", tried));
	if (own === undefined) return [detachedRoot(id, recursive, tried)];
	const path = pathOf(fd, "the source", tried);
	const root = { path: "", mountId: id, mountPoint: path, fsType: own.fsType, idmapped: isIdmapped(own) };
	if (!recursive) return [root];
	const below = visibleBelow(entries, own, path === "/" ? "" : path);
	for (const mount of below) {
		refuseTooLong(mount, tried);
		refuseUnnamed(mount, tried);
	}
	return [root, ...below];
}

/** A path below the source can exceed PATH_MAX if the mount was made from a working directory on it. */
function refuseTooLong({ path, fsType }: TreeMount, tried: string): void {
	const bytes = Buffer.byteLength(path);
	if (bytes < PATH_MAX) return;
	throw new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: the path from the source to a mount of ${fsType} has ${bytes} bytes, more than the kernel's limit of ${PATH_MAX - 1}`,
		{ hint: "Unmount it, or leave recursive out.", step: STEP },
	);
}

/** A byte that is not UTF-8 is decoded as U+FFFD, so the kernel's name for the directory is not known. */
function refuseUnnamed({ path, mountPoint, fsType }: TreeMount, tried: string): void {
	if (!path.includes("\ufffd")) return;
	throw new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: the path of the ${fsType} at ${mountPoint} is not UTF-8, or contains U+FFFD`,
		{ hint: "Rename its directory, unmount it, or leave recursive out.", step: STEP },
	);
}

const STEP = "reading the source's mounts";

function detachedRoot(mountId: number, recursive: boolean, tried: string): TreeMount {
	if (recursive) {
		throw new UsernsError(
			"ERR_USERNS_MOUNT",
			`${tried}: the source is not in this mount namespace, so the mounts below it are unknown`,
			{ hint: "Attach it first, or leave recursive out.", step: STEP },
		);
	}
	return {
		path: "",
		mountId,
		mountPoint: "a mount outside this mount namespace",
		fsType: "unknown",
		idmapped: undefined,
	};
}

/** Finds the topmost of the mounts that are stacked at one path of a mount. */
class Tops {
	readonly #first = new Map<number, Map<string, MountEntry>>();
	/** The lengths of the mount points on each mount. */
	readonly #lengths = new Map<number, Set<number>>();

	constructor(children: ReadonlyMap<number, readonly MountEntry[]>) {
		for (const [id, list] of children) {
			const at = new Map<string, MountEntry>();
			for (const entry of list) if (!at.has(entry.mountPoint)) at.set(entry.mountPoint, entry);
			this.#first.set(id, at);
			this.#lengths.set(id, new Set([...at.keys()].map(({ length }) => length)));
		}
	}

	/** Whether a mount point on the mount has that length. */
	hasAt({ id }: MountEntry, length: number): boolean {
		return this.#lengths.get(id)?.has(length) ?? false;
	}

	/** The result is stored for each mount of the stack, so that a stack is walked once. */
	at(entry: MountEntry, path: string): MountEntry {
		const stack: MountEntry[] = [entry];
		for (let next = this.#on(entry, path); next !== undefined; next = this.#on(next, path)) stack.push(next);
		const top = stack.at(-1) as MountEntry;
		for (const each of stack) if (each !== top) this.#first.get(each.id)?.set(path, top);
		return top;
	}

	#on(entry: MountEntry, path: string): MountEntry | undefined {
		return this.#first.get(entry.id)?.get(path);
	}
}

/** The mount on which a path ends, from `own` on. At each name the kernel enters the topmost mount. */
function walk(tops: Tops, own: MountEntry, start: string, path: string): MountEntry {
	let at = own;
	for (let end = start.length; end < path.length; ) {
		const slash = path.indexOf("/", end + 1);
		end = slash < 0 ? path.length : slash;
		// Without this check, the prefixes of a long path would take quadratic time.
		if (tops.hasAt(at, end)) at = tops.at(at, path.slice(0, end));
	}
	return at;
}

/** A mount with such a path is refused later. It is not walked to, because the time is quadratic in the length of the path. */
function isEndless({ mountPoint }: MountEntry, start: string): boolean {
	return mountPoint.length - start.length > PATH_MAX;
}

/** The unbindable mounts and the mounts below them. */
function leftOut(
	below: readonly MountEntry[],
	children: ReadonlyMap<number, readonly MountEntry[]>,
): Set<MountEntry> {
	const out = new Set(below.filter(({ unbindable }) => unbindable));
	// The loop also visits the elements that it adds.
	for (const entry of out) for (const child of children.get(entry.id) ?? []) out.add(child);
	return out;
}

/** The mounts that can be reached below `own`. `start` is the source's path, or "" for the root directory. */
export function visibleBelow(entries: readonly MountEntry[], own: MountEntry, start: string): TreeMount[] {
	const below = descendants(entries, own.id).filter(
		({ mountPoint }) => mountPoint.startsWith(`${start}/`) && mountPoint.length > start.length + 1,
	);
	const tops = new Tops(childrenOf(below));
	const pruned = leftOut(below, childrenOf(entries));
	return below
		.filter((entry) => !pruned.has(entry))
		.filter((entry) => isEndless(entry, start) || walk(tops, own, start, entry.mountPoint) === entry)
		.filter(({ mountPoint }) => !mountPoint.endsWith("//deleted"))
		.map((entry) => ({
			path: entry.mountPoint.slice(start.length + 1),
			mountId: entry.id,
			mountPoint: entry.mountPoint,
			fsType: entry.fsType,
			idmapped: isIdmapped(entry),
		}))
		.sort((a, b) => a.path.length - b.path.length); // parents first
}

/** Whether two reads of a source have the same mounts at the same paths. */
export function sameTree(a: readonly TreeMount[], b: readonly TreeMount[]): boolean {
	return (
		a.length === b.length &&
		a.every(({ path, mountId }, i) => b[i]?.path === path && b[i]?.mountId === mountId)
	);
}
