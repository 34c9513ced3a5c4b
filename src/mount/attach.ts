import { UsernsError } from "../errors.ts";
import { native, type Outcome } from "../native/addon.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { runAsync } from "../native/operation.ts";
import { type AttachOptions, RESOLVE, resolveFlags, showLocation } from "./attach-options.ts";
import { attachBranches, type Branch, rootPropagation } from "./branches.ts";
import { detachMount, type HeldRoot, markOf } from "./detach.ts";
import { findMount, mountsBelow } from "./find-mount.ts";
import { mountError } from "./mount-errors.ts";
import { type MountNamespace, openMountNamespaceAsync } from "./mount-namespace.ts";
import type { MountEntry } from "./mountinfo.ts";

/** A detached mount that is to be attached. */
export interface Tree {
	fd: number;
	mountId: number;
	/** 0 before Linux 6.8. */
	uniqueId: number;
	recursive: boolean;
	/** MS_…, as the C part takes it. */
	propagation: number;
	/** The mapping, for messages. */
	mapping: string;
	/** Nobody else has had its descriptor, so that it cannot be attached anywhere. */
	fresh: boolean;
	/**
	 * The mounts that are attached below the root afterwards, one by one; empty when the tree is attached as a whole.
	 */
	below: readonly Branch[];
}

/** What became of it. */
export interface Attachment {
	/** The mount namespace that it is in, when it is another than this process's own. */
	namespace: Descriptor | undefined;
	/** The mounts that came along, so that unmount() can tell them from what others mount there later. */
	submounts: ReadonlySet<string>;
}

/** What attachTree() did, and a descriptor that is to be closed when the caller knows of the mount (load.ts, `attach`). */
export interface NewAttachment extends Attachment {
	unacknowledged: number;
}

/**
 * Attaches a tree that is not attached yet. `tree.fd` must stay open and nobody else's until the promise is settled.
 * When it is rejected nothing is attached.
 */
export async function attachTree(
	tree: Tree,
	target: string | number,
	options: AttachOptions,
	tried: string,
	held?: HeldTarget,
): Promise<NewAttachment> {
	const mountNamespace = held === undefined ? await openInto(options) : held.takeMountNamespace();
	let unacknowledged = -1;
	try {
		// In the namespace in which it is attached the kernel would move it; one that is attached elsewhere is EINVAL.
		if (!tree.fresh) await refuseAttached(tree.fd, mountNamespace?.descriptor.fd, tried);
		const outcome = await attach(tree, held?.fd ?? target, options, mountNamespace, tried);
		if (outcome.error < 0) throw mountError(tried, tree.mapping, outcome);
		unacknowledged = outcome.fd;
		await attachBranches(tree, mountNamespace?.descriptor.fd ?? -1, options.replace ?? false, tried);
		const submounts = await findSubmounts(tree, mountNamespace, options.replace ?? false, tried);
		mountNamespace?.root?.close();
		return { namespace: mountNamespace?.descriptor, submounts, unacknowledged };
	} catch (error) {
		if (unacknowledged >= 0) native().close(unacknowledged);
		mountNamespace?.root?.close();
		mountNamespace?.descriptor.close();
		throw error;
	}
}

function openInto({ into }: AttachOptions): Promise<MountNamespace> | undefined {
	return into === undefined ? undefined : openMountNamespaceAsync(into);
}

/** A target that is looked up before the tree is made. */
export interface HeldTarget {
	fd: number;
	/** Whether the mount that the target is on is shared. */
	isShared: boolean;
	/** The mount namespace that the target is in, when it is not this process's own. */
	takeMountNamespace: () => MountNamespace | undefined;
	close: () => void;
}

/** Looks a target up. Returns undefined when that fails; attachTree() then reports the error. */
export async function holdTarget(
	target: string | number,
	options: AttachOptions,
): Promise<HeldTarget | undefined> {
	let mountNamespace = await openInto(options);
	let fd = -1;
	const close = () => {
		if (fd >= 0) native().close(fd);
		mountNamespace?.root?.close();
		mountNamespace?.descriptor.close();
		mountNamespace = undefined;
		fd = -1;
	};
	const mountNs = mountNamespace?.descriptor.fd;
	try {
		const outcome = await withTarget(
			target,
			options,
			mountNamespace,
			{ tried: "", mapping: "" },
			(from, path, flags) =>
				path === null
					? Promise.resolve(native().duplicate(from))
					: native().openPlace(from, path, flags, mountNs ?? -1, true),
		);
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

function attach(
	tree: Tree,
	target: string | number,
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
			true,
		),
	);
}

/**
 * Where a target is looked up: a descriptor, or a path that starts at a descriptor (−1: the working directory), with
 * RESOLVE_….
 */
async function withTarget(
	target: string | number,
	options: AttachOptions,
	mountNamespace: MountNamespace | undefined,
	{ tried, mapping }: { tried: string; mapping: string },
	call: (fd: number, path: string | null, resolve: number) => Promise<Outcome>,
): Promise<Outcome> {
	const links = resolveFlags("", options.resolve);
	const below = links | RESOLVE.inRoot | RESOLVE.noMagicLinks;
	if (typeof target === "number") return withCopy(target, (fd) => call(fd, null, 0), "target");
	if (mountNamespace !== undefined) return call(mountNamespace.root?.fd ?? -1, target, below);
	const { targetRoot } = options;
	if (targetRoot === undefined) return call(-1, target, links);
	if (typeof targetRoot === "number") return withCopy(targetRoot, (fd) => call(fd, target, below), "target");
	const root = await native().openPlace(-1, targetRoot, 0, -1, true);
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

/** Works on a copy, so that the number cannot become another file while the work waits for a thread. */
export async function withCopy(
	fd: number,
	work: (copy: number) => Promise<Outcome>,
	step: string,
): Promise<Outcome> {
	const copy = native().duplicate(fd);
	if (copy.error < 0) return copy.error === ERRNO.EBADF ? { ...copy, step } : copy;
	try {
		return await work(copy.fd);
	} finally {
		native().close(copy.fd);
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
		if (!tree.recursive) return new Set(); // the old one is gone already, and there was only something to check
		// A mount that is reported as failed must not stay attached.
		const undone = await native().detach(tree.fd, tree.uniqueId, namespace ?? -1, false, true);
		if (undone.error < 0) throw mountError(tried, tree.mapping, { ...undone, step: "left" });
		throw error;
	}
	if (replace) refuseCovered(mine, below, tried);
	return new Set(below.map(markOf));
}

/**
 * umount2(2) takes the topmost mount: when somebody mounted on the old one in the moment before, that one went, and the old
 * one still covers the new.
 */
function refuseCovered(mine: MountEntry | undefined, below: readonly MountEntry[], tried: string): void {
	const top = below.find(({ parent, mountPoint }) => parent === mine?.id && mountPoint === mine.mountPoint);
	if (top === undefined) return;
	throw new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: something was mounted there at that very moment and was unmounted instead of the old mount`,
		{
			hint: "The new mount lies beneath the old one: unmount that to see it, and let one program at a time mount at that place.",
			step: "looking for the old mount",
		},
	);
}

/** Throws when the mount is in that mount namespace: attaching it would move it. */
async function refuseAttached(fd: number, namespace: number | undefined, tried: string): Promise<void> {
	const there = await runAsync(findMount(fd, namespace, "ERR_USERNS_READ_MOUNTS", tried));
	if (there !== undefined) throw attachedError(tried, there.mountPoint);
}

export function attachedError(tried: string, where: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_ATTACHED",
		`${tried}: it is attached at ${where} already, and would be moved`,
		{
			hint: "Unmount it and make another mount, or mount the same source once more.",
		},
	);
}

/** Unmounts an attached tree. */
export function detachTree(mount: HeldRoot, { namespace, submounts }: Attachment): Promise<void> {
	return runAsync(detachMount(mount, (submount) => submounts.has(markOf(submount)), namespace?.fd));
}
