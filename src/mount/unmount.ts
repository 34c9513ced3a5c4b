import { show, UsernsError } from "../errors.ts";
import { native, type Outcome, WALK_END } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Operation, runAsync, runSync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { copyOptions } from "../options.ts";
import { checkPath, checkTarget } from "./attach-options.ts";
import { checkBooleans } from "./attributes.ts";
import { detachMount } from "./detach.ts";
import { findMount } from "./find-mount.ts";
import { type MountNamespace, openMountNamespace, openMountNamespaceAsync } from "./mount-namespace.ts";
import type { MountEntry } from "./mountinfo.ts";
import {
	checkPathOptions,
	lookUp,
	lookUpError,
	nameIn,
	PATH_OPTIONS,
	type PathOptions,
} from "./path-options.ts";
import { recordedMounts, removeRecord } from "./records.ts";
import { readTable, stackedUnder, uncover } from "./stack.ts";
import { ask, BASIC, parseStatmount } from "./statmount.ts";

/** How {@link unmount} works. */
export interface UnmountOptions extends PathOptions {
	/** Also unmount the mounts of any program on it, at the same mount point or below it (default false). */
	recursive?: boolean | undefined;
	/** The mount namespace that the path is in: a pid, or a path such as /proc/PID/ns/mnt. As `into` of a mount. */
	into?: number | string;
}

/** What {@link unmount} has unmounted. */
export interface Unmounted {
	path: string;
	kind: "idmapped mount" | "user namespace" | "overlay" | "mount without a map";
}

/**
 * Unmounts what this package mounts, and nothing else: an ID-mapped mount, an overlay, a mount made with `unmap`, or a
 * user namespace that is pinned at the path (and removes its empty file). Throws `ERR_USERNS_UNMOUNT` for every other
 * mount, for a mount on which something was mounted since, unless `recursive`, and for a symbolic link of another user
 * on the path.
 */
export function unmount(path: string, options?: UnmountOptions): Unmounted {
	const copy = check("unmount", path, options);
	const mountNamespace = copy.into === undefined ? undefined : openMountNamespace(copy.into);
	try {
		return runSync(unmountPath(path, copy, mountNamespace));
	} finally {
		close(mountNamespace);
	}
}

/** Like `unmount`, but does not block the event loop on a file system that does not answer. */
export async function unmountAsync(path: string, options?: UnmountOptions): Promise<Unmounted> {
	const copy = check("unmountAsync", path, options);
	const mountNamespace = copy.into === undefined ? undefined : await openMountNamespaceAsync(copy.into);
	try {
		return await runAsync(unmountPath(path, copy, mountNamespace));
	} finally {
		close(mountNamespace);
	}
}

/** Copies the options, because the caller may change them during the call. */
function check(what: string, path: unknown, options: UnmountOptions | undefined): UnmountOptions {
	checkPath(`${what}: the path`, path);
	const copy = copyOptions<UnmountOptions>(what, options, ["recursive", "into", ...PATH_OPTIONS]);
	checkBooleans(what, copy, ["recursive"]);
	checkPathOptions(what, copy);
	checkTarget(what, path, copy);
	return copy;
}

function close(mountNamespace: MountNamespace | undefined): void {
	mountNamespace?.root?.close();
	mountNamespace?.descriptor.close();
}

/** The most mounts that one call unmounts, in case another program mounts there again and again. */
const MOST_STACKED = 1000;

/** Holds the directory open from the look-up on. Every later step uses its descriptor and the name in it. */
function* unmountPath(
	path: string,
	options: UnmountOptions,
	mountNamespace: MountNamespace | undefined,
): Operation<Unmounted> {
	const holder = yield* lookUp(WALK_END.holder, path, options, mountNamespace);
	if (holder.error < 0) throw openError(path, holder);
	try {
		for (let i = 0; i < MOST_STACKED; i++) {
			const kind = yield* unmountTop(path, holder, options.recursive ?? false, mountNamespace);
			if (kind === undefined) continue;
			if (kind === "user namespace" && holder.name !== undefined) {
				const removed = yield nameIn(WALK_END.remove, holder.fd, holder.name);
				if (removed.error < 0) throw removeError(path, removed);
			}
			return { path, kind };
		}
	} finally {
		native().close(holder.fd);
	}
	throw new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${show(path)}: another program mounts on it again and again`,
		{
			hint: "Stop the program that mounts there, then call again. The mounts that were on top are unmounted.",
			step: "looking for other mounts",
		},
	);
}

/**
 * Unmounts the topmost mount and returns its kind. With `recursive` it may be another mount on the one of this package:
 * undefined.
 */
function* unmountTop(
	path: string,
	holder: Outcome,
	recursive: boolean,
	mountNamespace: MountNamespace | undefined,
): Operation<Unmounted["kind"] | undefined> {
	const { name } = holder;
	const top =
		name === undefined
			? yield () => native().duplicate(holder.fd)
			: yield nameIn(WALK_END.place, holder.fd, name);
	if (top.error < 0) throw openError(path, top);
	try {
		const mountNs = mountNamespace?.descriptor.fd;
		const tried = `cannot unmount ${show(path)}`;
		const facts = native().mountFacts(top.fd);
		// A file inside a mount: unmounting the mount around it would be a surprise.
		const error = typeof facts === "number" ? facts : facts[2] === 0n ? ERRNO.EINVAL : 0;
		if (typeof facts === "number" || error < 0) throw openError(path, { ...top, error, step: "statx" });
		const id = Number(facts[0]);
		const held = { fd: top.fd, mountId: id, uniqueId: Number(facts[1]) };
		const entry = yield* findMount(top.fd, mountNs, "ERR_USERNS_UNMOUNT", tried);
		const recorded = yield* recordedHere(mountNamespace);
		const kind = kindOf(entry, mountNamespace, recorded);
		if (kind === undefined) {
			const under = recursive ? stackedUnder(yield* readTable(mountNs, tried), id) : [];
			const ours = under.some((each) => kindOf(each, mountNamespace, recorded) !== undefined);
			if (!ours) throw notOurs(path, entry);
		} else if (recursive) yield* uncover(held, mountNs, tried);
		yield* detachMount(held, () => recursive, mountNs);
		if (kind === "mount without a map") removeRecord(facts[1]);
		return kind;
	} finally {
		// With it the file system may be shut down.
		yield (later) => (later ? native().closeLater(top.fd) : closeNow(top.fd));
	}
}

function closeNow(fd: number): Outcome {
	return { error: native().close(fd), fd: -1, mountId: 0, uniqueId: 0 };
}

/** What the package calls a mount that it makes; undefined for every other one. */
function kindOf(
	entry: MountEntry | undefined,
	mountNamespace: MountNamespace | undefined,
	recorded: ReadonlySet<number>,
): Unmounted["kind"] | undefined {
	if (entry === undefined) return undefined;
	if (entry.options.includes("idmapped")) return "idmapped mount";
	if (entry.fsType === "overlay" && entry.source === OVERLAY_SOURCE) return "overlay";
	// No namespace is pinned in a container.
	if (mountNamespace === undefined && entry.fsType === "nsfs" && entry.root.startsWith("user:["))
		return "user namespace";
	return recorded.has(entry.id) ? "mount without a map" : undefined;
}

/** The source that native/mount/overlay.c sets for each overlay. */
const OVERLAY_SOURCE = "userns";

/**
 * The numbers in mountinfo of the mounts of records.ts, which know them by their unique IDs: read once, since whoever mounts
 * in that namespace decides how many mounts are compared with them.
 */
function* recordedHere(mountNamespace: MountNamespace | undefined): Operation<ReadonlySet<number>> {
	const here = new Set<number>();
	const ns = mountNamespace === undefined ? 0n : native().mountNamespaceId(mountNamespace.descriptor.fd);
	if (typeof ns === "number") return here;
	for (const unique of recordedMounts()) {
		const answer = yield* ask(unique, ns, BASIC);
		if (typeof answer !== "number") here.add(parseStatmount(answer).id);
	}
	return here;
}

function openError(path: string, outcome: Outcome): UsernsError {
	return lookUpError("ERR_USERNS_UNMOUNT", `cannot unmount ${show(path)}`, outcome, openHints);
}

const openHints: Record<number, string> = {
	[ERRNO.EINVAL]: "Nothing is mounted there: pass the mount point itself.",
};

function removeError(path: string, outcome: Outcome): UsernsError {
	return kernelError("ERR_USERNS_UNMOUNT", `cannot remove the file at ${show(path)}`, outcome, {
		hint: "The namespace is unmounted. Check which users may write to that directory, then remove the empty file.",
	});
}

function notOurs(path: string, entry: MountEntry | undefined): UsernsError {
	const found = entry === undefined ? "not in this mount namespace" : `a mount of ${entry.fsType}`;
	return new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${show(path)}: it is not a mount of this package, but ${found}`,
		{ hint: "Use umount(8) for other mounts.", step: "looking at the mount" },
	);
}
