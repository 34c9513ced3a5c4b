import { checkPath, show, UsernsError } from "../errors.ts";
import { native, type Outcome, WALK_END } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Operation, runAsync, runSync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { checkTarget } from "./attach-options.ts";
import { checkBooleans } from "./attributes.ts";
import { detachMount } from "./detach.ts";
import { findMount } from "./find-mount.ts";
import {
	closeMountNamespace,
	type MountNamespace,
	openMountNamespace,
	openMountNamespaceAsync,
} from "./mount-namespace.ts";
import { isIdmapped, type MountEntry, readMounts } from "./mountinfo.ts";
import { copyPathOptions, lookUp, lookUpError, nameIn, type PathOptions } from "./path-options.ts";
import { recordedMounts, removeRecord } from "./records.ts";
import { MOST_STACKED, stackedUnder, uncover } from "./stack.ts";
import { BASIC, callStatmount, parseStatmount } from "./statmount.ts";

/** Options of {@link unmount}. */
export interface UnmountOptions extends PathOptions {
	/** Unmounts the mounts on it too, of any program, at the same mount point and below it (default false). */
	recursive?: boolean | undefined;
	/** The mount namespace of the path: a pid, or a path such as /proc/PID/ns/mnt. It must not be undefined. */
	into?: number | string;
}

/** The mount that {@link unmount} has unmounted. */
export interface Unmounted {
	/** The path as it was passed. */
	path: string;
	kind: "idmapped mount" | "user namespace" | "overlay" | "mount without a map";
}

/**
 * Unmounts an ID-mapped mount, an overlay with the source `userns`, or a user namespace that is pinned at the path, whichever
 * program mounted it, or a mount that is recorded as made with `unmap`. Removes the empty file of a pinned namespace. Throws
 * `ERR_USERNS_UNMOUNT` for every other mount, for a mount on which another one was mounted since, unless `recursive`, and for a
 * symbolic link of another user on the path.
 */
export function unmount(path: string, options?: UnmountOptions): Unmounted {
	const copy = check("unmount", path, options);
	const mountNamespace = copy.into === undefined ? undefined : openMountNamespace(copy.into);
	try {
		return runSync(unmountPath(path, copy, mountNamespace));
	} finally {
		closeMountNamespace(mountNamespace);
	}
}

/** Like `unmount`, but does not block the event loop on a file system that does not answer. */
export async function unmountAsync(path: string, options?: UnmountOptions): Promise<Unmounted> {
	const copy = check("unmountAsync", path, options);
	const mountNamespace = copy.into === undefined ? undefined : await openMountNamespaceAsync(copy.into);
	try {
		return await runAsync(unmountPath(path, copy, mountNamespace));
	} finally {
		closeMountNamespace(mountNamespace);
	}
}

function check(what: string, path: unknown, options: UnmountOptions | undefined): UnmountOptions {
	checkPath(`${what}: the path`, path);
	const copy = copyPathOptions(what, path, options, OWN_OPTIONS);
	checkBooleans(what, copy, ["recursive"]);
	checkTarget(what, path, copy);
	return copy;
}

/** The names, complete by their type. */
const OWN_OPTIONS = Object.keys({ recursive: true, into: true } satisfies Record<
	Exclude<keyof UnmountOptions, keyof PathOptions>,
	true
>);

/** Keeps the directory open after the look-up. Each later step uses its descriptor and the name in it. */
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
		CODE,
		`cannot unmount ${show(path)}: during the call, another program mounted on it ${MOST_STACKED} times`,
		{
			hint: "Stop that program and call again. The mounts that were on top have been unmounted.",
			step: "looking for other mounts",
		},
	);
}

/** Unmounts the topmost mount and returns its kind. Undefined, with `recursive`, for a mount on a mount of this package. */
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
			: yield nameIn(WALK_END.location, holder.fd, name);
	if (top.error < 0) throw openError(path, top);
	try {
		const mountNs = mountNamespace?.descriptor.fd;
		const tried = `cannot unmount ${show(path)}`;
		const ids = native().mountIds(top.fd);
		if (typeof ids === "number") throw openError(path, { ...top, error: ids, step: "statx" });
		// The mount that contains the path must not be unmounted.
		if (ids[2] === 0n) throw notMountPoint(path);
		const id = Number(ids[0]);
		const held = { fd: top.fd, mountId: id, uniqueId: Number(ids[1]) };
		const entry = yield* findMount(top.fd, mountNs, CODE, tried);
		const recorded = yield* recordedHere(mountNamespace);
		const kind = kindOf(entry, mountNamespace, recorded);
		if (kind === undefined) {
			const under = recursive ? stackedUnder(yield* readMounts(mountNs, CODE, tried), id) : [];
			const ours = under.some((each) => kindOf(each, mountNamespace, recorded) !== undefined);
			if (!ours) throw notOurs(path, entry);
		} else if (recursive) yield* uncover(held, mountNs, tried);
		yield* detachMount(held, () => recursive, mountNs);
		if (kind === "mount without a map") removeRecord(ids[1]);
		return kind;
	} finally {
		// Closing the last descriptor can shut the file system down, which takes time.
		yield (later) => (later ? native().closeLater(top.fd) : closeNow(top.fd));
	}
}

function closeNow(fd: number): Outcome {
	return { error: native().close(fd), fd: -1, mountId: 0, uniqueId: 0 };
}

/** The kind of a mount of this package; undefined for every other mount. */
function kindOf(
	entry: MountEntry | undefined,
	mountNamespace: MountNamespace | undefined,
	recorded: ReadonlySet<number>,
): Unmounted["kind"] | undefined {
	if (entry === undefined) return undefined;
	if (isIdmapped(entry)) return "idmapped mount";
	if (entry.fsType === "overlay" && entry.source === OVERLAY_SOURCE) return "overlay";
	// This package does not pin a namespace in a container.
	if (mountNamespace === undefined && entry.fsType === "nsfs" && entry.root.startsWith("user:["))
		return "user namespace";
	return recorded.has(entry.id) ? "mount without a map" : undefined;
}

const CODE = "ERR_USERNS_UNMOUNT";
/** The source that native/mount/overlay.c sets for each overlay. */
const OVERLAY_SOURCE = "userns";

/**
 * The mountinfo IDs of the mounts in records.ts, which has their unique IDs. They are read once, because the programs in that
 * namespace control how many mounts are compared with them.
 */
function* recordedHere(mountNamespace: MountNamespace | undefined): Operation<ReadonlySet<number>> {
	const here = new Set<number>();
	const ns = mountNamespace === undefined ? 0n : native().mountNamespaceId(mountNamespace.descriptor.fd);
	if (typeof ns === "number") return here;
	for (const unique of recordedMounts()) {
		const answer = yield* callStatmount(unique, ns, BASIC);
		if (typeof answer !== "number") here.add(parseStatmount(answer).id);
	}
	return here;
}

function openError(path: string, outcome: Outcome): UsernsError {
	return lookUpError(CODE, `cannot unmount ${show(path)}`, outcome, {});
}

function notMountPoint(path: string): UsernsError {
	return new UsernsError(CODE, `cannot unmount ${show(path)}: it is not a mount point`, {
		hint: "Pass the path at which the mount is attached: mounts() lists them.",
		errno: ERRNO.EINVAL,
		step: "identifying the mount",
	});
}

function removeError(path: string, outcome: Outcome): UsernsError {
	return kernelError(CODE, `cannot remove the file at ${show(path)}`, outcome, {
		hint: "Remove the empty file, and check which users may write to its directory. The namespace is unmounted.",
	});
}

function notOurs(path: string, entry: MountEntry | undefined): UsernsError {
	const found = entry === undefined ? "not in this mount namespace" : `a mount of ${entry.fsType}`;
	return new UsernsError(
		CODE,
		`cannot unmount ${show(path)}: it is not a mount of this package, but ${found}`,
		{ hint: "Use umount(8) for other mounts.", step: "identifying the mount" },
	);
}
