import { readlinkSync } from "node:fs";
import { UsernsError } from "../errors.ts";
import { native } from "../native/addon.ts";
import { runAsync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { PATH_MAX } from "./attach-options.ts";
import { findMount } from "./find-mount.ts";
import { childrenOf, descendants, type MountEntry, readInLater } from "./mountinfo.ts";

/** One mount of the tree that a source is the root of. */
export interface TreeMount {
	/** From the source to it; "" is the source itself. */
	path: string;
	/** As in mountinfo. */
	mountId: number;
	mountPoint: string;
	fsType: string;
	/** Undefined where it cannot be told: the mount is not in this mount namespace. */
	idmapped: boolean | undefined;
}

/**
 * The mounts that are to be seen below a source, parents first. What lies hidden under another mount, or on a removed
 * directory, is left out: nobody could reach it. So are unbindable mounts with what is below them, as the kernel does it
 * (copy_tree in fs/namespace.c).
 */
export async function readSourceTree(fd: number, recursive: boolean, tried: string): Promise<TreeMount[]> {
	const facts = native().mountFacts(fd);
	if (typeof facts === "number")
		throw kernelError("ERR_USERNS_MOUNT", tried, { error: facts, step: "statx" });
	const id = Number(facts[0]);
	const entries = recursive ? await readInLater(undefined, "ERR_USERNS_MOUNT", tried) : [];
	const own = recursive
		? entries.find((entry) => entry.id === id)
		: await runAsync(findMount(fd, undefined, "ERR_USERNS_MOUNT", tried));
	if (own === undefined) return [detachedRoot(id, recursive, tried)];
	const path = pathOf(fd, tried);
	const root = { path: "", mountId: id, mountPoint: path, fsType: own.fsType, idmapped: isMapped(own) };
	if (!recursive) return [root];
	const below = visibleBelow(entries, own, path === "/" ? "" : path);
	for (const place of below) {
		refuseTooLong(place, tried);
		refuseUnnamed(place, tried);
	}
	return [root, ...below];
}

/** Mounted from a working directory on the way, it can be further down than a path can tell. */
function refuseTooLong({ path, fsType }: TreeMount, tried: string): void {
	const bytes = Buffer.byteLength(path);
	if (bytes < PATH_MAX) return;
	throw new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: the path from the source to a mount of ${fsType} has ${bytes} bytes, and the kernel takes ${PATH_MAX - 1} at most`,
		{ hint: "Unmount it, or leave recursive out.", step: "looking at the source's tree" },
	);
}

/** What is no UTF-8 was read as U+FFFD, and the name that the kernel has cannot be told from that. */
function refuseUnnamed({ path, mountPoint, fsType }: TreeMount, tried: string): void {
	if (!path.includes("\ufffd")) return;
	throw new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: the name of a mount of ${fsType} below the source, ${mountPoint}, cannot be told: it is not UTF-8, or has a U+FFFD in it, and this tree has to be copied mount by mount`,
		{
			hint: "Rename its directory, unmount it, or leave recursive out.",
			step: "looking at the source's tree",
		},
	);
}

function isMapped(entry: MountEntry): boolean {
	return entry.options.includes("idmapped");
}

function detachedRoot(mountId: number, recursive: boolean, tried: string): TreeMount {
	if (recursive) {
		throw new UsernsError(
			"ERR_USERNS_MOUNT",
			`${tried}: the source is not in this mount namespace, so that the mounts below it cannot be told apart`,
			{ hint: "Attach it first, or leave recursive out.", step: "looking at the source's tree" },
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

function pathOf(fd: number, tried: string): string {
	try {
		return readlinkSync(`/proc/self/fd/${fd}`);
	} catch (cause) {
		throw new UsernsError("ERR_USERNS_MOUNT", `${tried}: the source's path cannot be read`, {
			hint: "A procfs at /proc is needed.",
			step: "looking at the source",
			cause,
		});
	}
}

/** The mount that covers all others at one place on a mount: they are mounted on it, and on each other there. */
class Tops {
	readonly #first = new Map<number, Map<string, MountEntry>>();
	/** How long the paths are at which something is mounted on a mount. */
	readonly #lengths = new Map<number, Set<number>>();

	constructor(children: ReadonlyMap<number, readonly MountEntry[]>) {
		for (const [id, list] of children) {
			const at = new Map<string, MountEntry>();
			for (const entry of list) if (!at.has(entry.mountPoint)) at.set(entry.mountPoint, entry);
			this.#first.set(id, at);
			this.#lengths.set(id, new Set([...at.keys()].map(({ length }) => length)));
		}
	}

	/** Whether something may be mounted on it at a path of that length. */
	hasAt({ id }: MountEntry, length: number): boolean {
		return this.#lengths.get(id)?.has(length) ?? false;
	}

	/** Remembered for each on the way, so that a pile of mounts is gone through once. */
	at(entry: MountEntry, place: string): MountEntry {
		const pile: MountEntry[] = [entry];
		for (let next = this.#on(entry, place); next !== undefined; next = this.#on(next, place)) pile.push(next);
		const top = pile.at(-1) as MountEntry;
		for (const each of pile) if (each !== top) this.#first.get(each.id)?.set(place, top);
		return top;
	}

	#on(entry: MountEntry, place: string): MountEntry | undefined {
		return this.#first.get(entry.id)?.get(place);
	}
}

/** What a walk from `own` along the names of `path` ends on, as the kernel walks: onto the topmost mount at each. */
function walk(tops: Tops, own: MountEntry, start: string, path: string): MountEntry {
	let at = own;
	for (let end = start.length; end < path.length; ) {
		const slash = path.indexOf("/", end + 1);
		end = slash < 0 ? path.length : slash;
		// Cutting each beginning out of a long path would take the square of its length.
		if (tops.hasAt(at, end)) at = tops.at(at, path.slice(0, end));
	}
	return at;
}

/** Refused later, whether it is to be seen or not: walking down a path takes the square of its length. */
function isEndless({ mountPoint }: MountEntry, start: string): boolean {
	return mountPoint.length - start.length > PATH_MAX;
}

/** The unbindable ones, and what is below them. */
function leftOut(
	below: readonly MountEntry[],
	children: ReadonlyMap<number, readonly MountEntry[]>,
): Set<MountEntry> {
	const out = new Set(below.filter(({ unbindable }) => unbindable));
	// What is added meanwhile is gone through too.
	for (const entry of out) for (const child of children.get(entry.id) ?? []) out.add(child);
	return out;
}

/** `start` is the source's path, without the slash of the root directory. */
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
			idmapped: isMapped(entry),
		}))
		.sort((a, b) => a.path.length - b.path.length); // a prefix is shorter than what it leads to
}

/** True when two surveys saw the same mounts at the same places. */
export function sameTree(a: readonly TreeMount[], b: readonly TreeMount[]): boolean {
	return (
		a.length === b.length &&
		a.every(({ path, mountId }, i) => b[i]?.path === path && b[i]?.mountId === mountId)
	);
}
