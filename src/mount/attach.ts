import { UsernsError } from "../errors.ts";
import { native, type Outcome } from "../native/addon.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { runAsync } from "../native/operation.ts";
import { type AttachOptions, RESOLVE, resolveFlags } from "./attach-options.ts";
import { attachBranches, rootPropagation, type Tree } from "./branches.ts";
import { detachMount, type HeldRoot, markOf } from "./detach.ts";
import { findMount, mountsBelow } from "./find-mount.ts";
import { type Location, openLocation, showLocation, withDuplicate } from "./location.ts";
import { attachError, mountError } from "./mount-errors.ts";
import {
	closeMountNamespace,
	duplicateMountNamespace,
	type MountNamespace,
	openMountNamespaceAsync,
} from "./mount-namespace.ts";
import type { MountEntry } from "./mountinfo.ts";

/** An attached tree. */
export interface Attachment {
	/** The mount namespace of the tree; undefined for that of this process. */
	namespace: Descriptor | undefined;
	/** The mounts below the root (markOf), so that unmount() can distinguish them from mounts of other programs. */
	submounts: ReadonlySet<string>;
}

/**
 * Attaches a tree. `tree.fd` must stay open until the promise is settled. If the promise is rejected, nothing is attached. The
 * mount is unacknowledged until the caller closes `tree.fd` (src/native/addon.ts, `attach`).
 */
export async function attachTree(
	tree: Tree,
	target: Location,
	options: AttachOptions,
	tried: string,
	held?: HeldTarget,
	opened?: MountNamespace,
): Promise<Attachment> {
	const mountNamespace = held === undefined ? await openInto(options, opened) : held.takeMountNamespace();
	try {
		// The kernel would move a mount that is attached in this namespace. In another namespace it fails with EINVAL.
		if (!tree.fresh) await refuseAttached(tree.fd, mountNamespace?.descriptor.fd, tried);
		const outcome = await attach(tree, held?.fd ?? target, options, mountNamespace, tried);
		if (outcome.error < 0) {
			throw await attachError(
				tried,
				tree.mapping,
				outcome,
				async () => native().duplicate(tree.fd),
				() => openTarget(held?.fd ?? target, options, mountNamespace, { tried, mapping: tree.mapping }),
			);
		}
		await attachBranches(tree, mountNamespace?.descriptor.fd ?? -1, options.replace ?? false, tried);
		const submounts = await findSubmounts(tree, mountNamespace, options.replace ?? false, tried);
		mountNamespace?.root?.close();
		return { namespace: mountNamespace?.descriptor, submounts };
	} catch (error) {
		closeMountNamespace(mountNamespace);
		throw error;
	}
}

/** Opens the mount namespace of `into`, or duplicates the one that the caller has opened. */
async function openInto(
	{ into }: AttachOptions,
	opened: MountNamespace | undefined,
): Promise<MountNamespace | undefined> {
	if (opened !== undefined) return duplicateMountNamespace(opened);
	return into === undefined ? undefined : openMountNamespaceAsync(into);
}

/** A target that is looked up before the tree is created. */
export interface HeldTarget {
	fd: number;
	/** Whether the target's mount is shared. */
	isShared: boolean;
	/** Returns the target's mount namespace, once, to an owner that closes it; undefined for that of this process. */
	takeMountNamespace: () => MountNamespace | undefined;
	close: () => void;
}

/** Looks a target up. Returns undefined if that fails, because attachTree() reports the error later. */
export async function holdTarget(
	target: Location,
	options: AttachOptions,
	opened?: MountNamespace,
): Promise<HeldTarget | undefined> {
	let mountNamespace = await openInto(options, opened);
	let fd = -1;
	const close = () => {
		if (fd >= 0) native().close(fd);
		closeMountNamespace(mountNamespace);
		mountNamespace = undefined;
		fd = -1;
	};
	const mountNs = mountNamespace?.descriptor.fd;
	try {
		const outcome = await openTarget(target, options, mountNamespace, { tried: "", mapping: "" });
		fd = outcome.fd;
		const on = fd < 0 ? undefined : await runAsync(findMount(fd, mountNs, "ERR_USERNS_MOUNT", ""));
		if (on !== undefined) {
			const takeMountNamespace = () => {
				const taken = mountNamespace;
				mountNamespace = undefined;
				return taken;
			};
			return { fd, isShared: on.shared, takeMountNamespace, close };
		}
	} catch {}
	close();
	return undefined;
}

function openTarget(
	target: Location,
	options: AttachOptions,
	mountNamespace: MountNamespace | undefined,
	words: { tried: string; mapping: string },
): Promise<Outcome> {
	return withTarget(target, options, mountNamespace, words, (from, path, flags) =>
		path === null
			? Promise.resolve(native().duplicate(from))
			: native().openLocation(from, path, flags, mountNamespace?.descriptor.fd ?? -1, false),
	);
}

function attach(
	tree: Tree,
	target: Location,
	options: AttachOptions,
	mountNamespace: MountNamespace | undefined,
	tried: string,
): Promise<Outcome> {
	return withTarget(target, options, mountNamespace, { tried, mapping: tree.mapping }, (fd, path, resolve) =>
		native().attach(
			tree.fd,
			tree.uniqueId,
			fd,
			path,
			resolve,
			options.replace ?? false,
			tree.recursive,
			tree.below.length > 0 ? rootPropagation(tree) : tree.propagation,
			mountNamespace?.descriptor.fd ?? -1,
		),
	);
}

/**
 * Calls a function with a target as the add-on takes it: a descriptor and null, or a descriptor (−1: the working directory), a path
 * below it and RESOLVE_….
 */
async function withTarget(
	target: Location,
	options: AttachOptions,
	mountNamespace: MountNamespace | undefined,
	{ tried, mapping }: { tried: string; mapping: string },
	call: (fd: number, path: string | null, resolve: number) => Promise<Outcome>,
): Promise<Outcome> {
	const links = resolveFlags("", options.resolve);
	const below = links | RESOLVE.inRoot | RESOLVE.noMagicLinks;
	if (typeof target === "number") return withDuplicate(target, "target", (fd) => call(fd, null, 0));
	if (mountNamespace !== undefined) return call(mountNamespace.root?.fd ?? -1, target, below);
	const { targetRoot } = options;
	if (targetRoot === undefined) return call(-1, target, links);
	const root = await openLocation(targetRoot, 0);
	if (root.error < 0) {
		throw mountError(`${tried} (targetRoot ${showLocation(targetRoot)})`, mapping, {
			...root,
			step: "target",
		});
	}
	try {
		return await call(root.fd, target, below);
	} finally {
		native().close(root.fd);
	}
}

async function findSubmounts(
	tree: Tree,
	mountNamespace: MountNamespace | undefined,
	replace: boolean,
	tried: string,
): Promise<ReadonlySet<string>> {
	if (!tree.recursive && !replace) return new Set();
	const namespace = mountNamespace?.descriptor.fd;
	let mine: MountEntry | undefined;
	let below: MountEntry[];
	try {
		mine = await runAsync(findMount(tree.fd, namespace, "ERR_USERNS_MOUNT", tried));
		below = await runAsync(mountsBelow(tree.fd, namespace, "ERR_USERNS_MOUNT", tried));
	} catch (error) {
		if (!tree.recursive) return new Set(); // the old mount is unmounted, and only the check was not made
		// A mount that is reported as failed must not stay attached.
		const undone = await native().detach(tree.fd, tree.uniqueId, namespace ?? -1, false, true);
		if (undone.error < 0) throw mountError(tried, tree.mapping, { ...undone, step: "left" });
		throw error;
	}
	if (replace) refuseCovered(mine, below, tried);
	return new Set(below.map(markOf));
}

/**
 * umount2(2) unmounts the topmost mount. If another program mounted on the old mount during the call, that mount was unmounted, and
 * the old one still covers the new one.
 */
function refuseCovered(mine: MountEntry | undefined, below: readonly MountEntry[], tried: string): void {
	const top = below.find(({ parent, mountPoint }) => parent === mine?.id && mountPoint === mine.mountPoint);
	if (top === undefined) return;
	throw new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: another program mounted there during the call, and its mount was unmounted instead of the old one`,
		{
			hint: "Unmount the old mount, which covers the new one. Only one program at a time may mount at that target.",
			step: "checking that the old mount is unmounted",
		},
	);
}

/** Throws if the mount is attached in that mount namespace, because attaching it again would move it. */
async function refuseAttached(fd: number, namespace: number | undefined, tried: string): Promise<void> {
	const there = await runAsync(findMount(fd, namespace, "ERR_USERNS_READ_MOUNTS", tried));
	if (there !== undefined) throw attachedError(tried, there.mountPoint);
}

export function attachedError(tried: string, where: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_ATTACHED",
		`${tried}: it is already attached at ${where}, and attaching it again would move it`,
		{ hint: "Create another mount of the same source." },
	);
}

/** Unmounts an attached tree. */
export function detachTree(mount: HeldRoot, { namespace, submounts }: Attachment): Promise<void> {
	return runAsync(detachMount(mount, (submount) => submounts.has(markOf(submount)), namespace?.fd));
}
