import { closeSync, constants, fstatSync, lstatSync, openSync, unlinkSync } from "node:fs";
import { basename, dirname } from "node:path";
import { invalidArgument, show, UsernsError } from "../errors.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";
import { native } from "../native/load.ts";
import { ERRNO, kernelError } from "../native/steps.ts";
import { copyOptions } from "../options.ts";
import { checkBooleans } from "./attributes.ts";
import { detach } from "./detach.ts";
import { findMount } from "./find-mount.ts";
import { openMountNamespace } from "./mount-namespace.ts";
import type { MountEntry } from "./mountinfo.ts";
import { checkPath, checkTarget } from "./target.ts";

/**
 * Keeps a user namespace alive at a path, with no process and no descriptor: it is mounted on a new, empty file, as
 * `ip netns add` does for network namespaces. `UserNamespace.open(path)` opens it again, `unmount(path)` ends it. An
 * existing file is left as it is (`ERR_USERNS_PIN`). Needs CAP_SYS_ADMIN.
 */
export function pin(namespace: UserNamespace, path: string): void {
	if (!(namespace instanceof UserNamespace)) {
		throw invalidArgument(`pin: the namespace must be a UserNamespace, not ${show(namespace)}`);
	}
	checkPath("pin: the path", path);
	const outcome = native().pin(namespace.fd, path);
	if (outcome.error < 0) {
		throw kernelError("ERR_USERNS_PIN", `cannot keep a user namespace at ${show(path)}`, outcome, {
			hint: pinHints[outcome.error],
		});
	}
}

const pinHints: Record<number, string> = {
	[ERRNO.EEXIST]:
		"The file exists already: name one that does not, or end the namespace that is kept there with unmount.",
	[ERRNO.ENOENT]: "The directory does not exist.",
	[ERRNO.EPERM]: "Mounting needs CAP_SYS_ADMIN in the user namespace that owns this mount namespace.",
};

/** How {@link unmount} works. */
export interface UnmountOptions {
	/** Also what is mounted on it or below it (default false). */
	recursive?: boolean | undefined;
	/** The mount namespace that the path is in: a pid, or a path such as /proc/PID/ns/mnt. As `into` of a mount. */
	into?: number | string;
}

/** What {@link unmount} took away. */
export interface Unmounted {
	path: string;
	kind: "idmapped mount" | "user namespace";
}

/**
 * Unmounts what this package mounts, and nothing else: an ID-mapped mount, or a user namespace that is kept at a path
 * (whose empty file is removed too). Anything else at the path is refused (`ERR_USERNS_UNMOUNT`), and so is a mount on
 * which something was mounted since, unless `recursive`.
 */
export function unmount(path: string, options?: UnmountOptions): Unmounted {
	checkPath("unmount: the path", path);
	const copy = copyOptions<UnmountOptions>("unmount", options, ["recursive", "into"]);
	checkBooleans("unmount", copy, ["recursive"]);
	const { recursive = false, into } = copy;
	if (into !== undefined) {
		checkTarget("unmount", path, copy);
		return unmountInside(path, into, recursive);
	}
	const opened = native().openMount(path);
	if (opened.error < 0) throw openError(path, opened.error, opened.step);
	try {
		const entry = findMount(opened.fd, undefined, "ERR_USERNS_UNMOUNT", `cannot unmount ${show(path)}`);
		const kind = kindOf(path, entry);
		const take = () => detach(opened.fd, opened.mountId, () => recursive);
		if (kind === "user namespace") withFileOf(path, opened.fd, take);
		else take();
		return { path, kind };
	} finally {
		native().close(opened.fd);
	}
}

/** In a container, where nothing but ID-mapped mounts are put by this package. */
function unmountInside(path: string, into: number | string, recursive: boolean): Unmounted {
	const inside = openMountNamespace(into);
	const namespace = inside.descriptor.fd;
	let fd = -1;
	try {
		const opened = native().openIn(namespace, inside.root?.fd ?? -1, path);
		if (opened.error < 0) throw openError(path, opened.error, "target");
		fd = opened.fd;
		const facts = native().mountFacts(fd);
		if (typeof facts === "number" || facts[2] === 0n) throw openError(path, ERRNO.EINVAL, "statx");
		const mountId = Number(facts[0]);
		const entry = findMount(fd, namespace, "ERR_USERNS_UNMOUNT", `cannot unmount ${show(path)}`);
		if (!entry?.options.includes("idmapped")) throw notOurs(path, entry);
		detach(fd, mountId, () => recursive, namespace);
		return { path, kind: "idmapped mount" };
	} finally {
		if (fd >= 0) native().close(fd);
		inside.root?.close();
		inside.descriptor.close();
	}
}

/**
 * Takes a pinned namespace off its file and removes the file, in a directory that is held from before: the path is
 * not looked up again, whatever becomes of its names. What is not empty is somebody's data and stays.
 */
function withFileOf(path: string, fd: number, take: () => void): void {
	const directory = told(path, "opening its folder", () =>
		openSync(dirname(path), constants.O_DIRECTORY | constants.O_RDONLY),
	);
	try {
		const name = `/proc/self/fd/${directory}/${basename(path)}`;
		const [there, opened] = told(path, "looking at its file", () => [
			lstatSync(name, { throwIfNoEntry: false }),
			fstatSync(fd),
		]);
		take();
		if (there?.ino !== opened.ino || there.dev !== opened.dev) return; // reached through a link: its file is elsewhere
		told(path, "removing its file, after it was unmounted", () => {
			const file = lstatSync(name, { throwIfNoEntry: false });
			if (file?.isFile() && file.size === 0) unlinkSync(name);
		});
	} finally {
		closeSync(directory);
	}
}

/** Node's own errors say neither what was tried nor what was done by then. */
function told<T>(path: string, step: string, call: () => T): T {
	try {
		return call();
	} catch (cause) {
		const { errno, syscall, message } = cause as NodeJS.ErrnoException;
		throw new UsernsError("ERR_USERNS_UNMOUNT", `cannot unmount ${show(path)}: ${step}: ${message}`, {
			errno,
			syscall,
			step,
			cause,
			hint: "See who may write to that folder, and whether a descriptor is free; then remove an empty file that is left.",
		});
	}
}

function openError(path: string, error: number, step: string | undefined): UsernsError {
	return kernelError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${show(path)}`,
		{ error, ...(step && { step }) },
		{
			hint:
				error === ERRNO.EINVAL
					? "Nothing is mounted there: name the very place of the mount."
					: openHints[error],
		},
	);
}

const openHints: Record<number, string> = {
	[ERRNO.ENOENT]: "There is no such path.",
	[ERRNO.ELOOP]: "A link on the path leads out of the container, or there are too many.",
	[ERRNO.ETIMEDOUT]:
		"A file system on the way did not answer within ten seconds: it may be served by the container itself.",
};

function kindOf(path: string, entry: MountEntry | undefined): Unmounted["kind"] {
	if (entry?.options.includes("idmapped")) return "idmapped mount";
	if (entry?.fsType === "nsfs" && entry.root.startsWith("user:[")) return "user namespace";
	throw notOurs(path, entry);
}

function notOurs(path: string, entry: MountEntry | undefined): UsernsError {
	const found = entry === undefined ? "not in this mount namespace" : `a mount of ${entry.fsType}`;
	return new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${show(path)}: it is neither an ID-mapped mount nor a user namespace, but ${found}`,
		{ hint: "Use umount(8) for other mounts.", step: "looking at the mount" },
	);
}
