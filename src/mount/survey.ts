import { readlinkSync } from "node:fs";
import { UsernsError } from "../errors.ts";
import { native } from "../native/load.ts";
import { kernelError } from "../native/steps.ts";
import { descendants, type MountEntry, readMountinfo } from "./mountinfo.ts";
import { PATH_MAX } from "./target.ts";

/** One mount of the tree that a source is the root of. */
export interface Place {
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
export function survey(fd: number, recursive: boolean, tried: string): Place[] {
	const facts = native().mountFacts(fd);
	if (typeof facts === "number")
		throw kernelError("ERR_USERNS_MOUNT", tried, { error: facts, step: "statx" });
	const id = Number(facts[0]);
	const entries = readMountinfo("ERR_USERNS_MOUNT", tried);
	const own = entries.find((entry) => entry.id === id);
	if (own === undefined) return [detachedPlace(id, recursive, tried)];
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
function refuseTooLong({ path, fsType }: Place, tried: string): void {
	const bytes = Buffer.byteLength(path);
	if (bytes < PATH_MAX) return;
	throw new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: the path from the source to a mount of ${fsType} has ${bytes} bytes, and the kernel takes ${PATH_MAX - 1} at most`,
		{ hint: "Unmount it, or leave recursive out.", step: "looking at the source's tree" },
	);
}

/** What is no UTF-8 was read as U+FFFD, and the name that the kernel has cannot be told from that. */
function refuseUnnamed({ path, mountPoint, fsType }: Place, tried: string): void {
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

function detachedPlace(mountId: number, recursive: boolean, tried: string): Place {
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

/** What a walk from `own` along the names of `path` ends on, as the kernel walks: onto the topmost mount at each. */
function walk(children: Map<number, MountEntry[]>, own: MountEntry, start: string, path: string): MountEntry {
	let at = own;
	let reached = start;
	for (const name of path.slice(start.length + 1).split("/")) {
		reached += `/${name}`;
		for (;;) {
			const next = children.get(at.id)?.find((entry) => entry.mountPoint === reached);
			if (next === undefined) break;
			at = next;
		}
	}
	return at;
}

/** `start` is the source's path, without the slash of the root directory. */
function visibleBelow(entries: readonly MountEntry[], own: MountEntry, start: string): Place[] {
	const below = descendants(entries, own.id).filter(
		({ mountPoint }) => mountPoint.startsWith(`${start}/`) && mountPoint.length > start.length + 1,
	);
	const children = new Map<number, MountEntry[]>();
	for (const entry of below) {
		const list = children.get(entry.parent);
		if (list === undefined) children.set(entry.parent, [entry]);
		else list.push(entry);
	}
	const pruned = new Set(
		below
			.filter(({ unbindable }) => unbindable)
			.flatMap((entry) => [entry, ...descendants(entries, entry.id)]),
	);
	return below
		.filter((entry) => !pruned.has(entry))
		.filter((entry) => walk(children, own, start, entry.mountPoint) === entry)
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
export function sameTree(a: readonly Place[], b: readonly Place[]): boolean {
	return (
		a.length === b.length &&
		a.every(({ path, mountId }, i) => b[i]?.path === path && b[i]?.mountId === mountId)
	);
}
