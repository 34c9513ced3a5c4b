import { describeErrno, hintOfCauses, type UsernsError } from "../errors.ts";
import { fileSystemFix } from "../inspect/file-systems.ts";
import { native, type Outcome, PART, WALK_END } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { missingCallHint } from "../native/missing-call.ts";
import { runAsync } from "../native/operation.ts";
import { findMount } from "./find-mount.ts";
import { checkLocation, showLocation } from "./location.ts";
import { MapNamespaces, oneOwn } from "./map-namespaces.ts";
import { mapRefused, mountError } from "./mount-errors.ts";
import { isIdmapped } from "./mountinfo.ts";
import { copyPathOptions, lookUp, lookUpError, type PathOptions } from "./path-options.ts";
import { tryPart } from "./tree-plan.ts";

/** Whether the mount of a path can be ID-mapped. */
export interface MountSupport {
	supported: boolean;
	/** The type of the file system, as in mountinfo; "unknown" for a mount that is not in this mount namespace. */
	fsType: string;
	/** The mount point. */
	mountPoint: string;
	/** The reason, in words. */
	reason: string;
	/** What to do if it is not supported. */
	hint?: string;
}

/**
 * Tests whether the mount of a path can be ID-mapped: maps a detached copy of it and closes the copy. It does not go by the type
 * of the file system. Throws `ERR_USERNS_MOUNT` if the test cannot be made: the path does not exist, a symbolic link of
 * another user lies on it, or the caller may not mount.
 */
export async function supports(path: string | number, options?: PathOptions): Promise<MountSupport> {
	checkLocation("supports: the path", path);
	const checked = copyPathOptions("supports", path, options);
	const tried = `cannot test whether ${showLocation(path)} can be ID-mapped`;
	const held =
		typeof path === "number"
			? native().duplicate(path)
			: await runAsync(lookUp(WALK_END.location, path, checked));
	if (held.error < 0) throw openError(tried, held);
	const descriptor = new Descriptor(held.fd, "path");
	const namespaces = new MapNamespaces(undefined);
	try {
		const { mount, idmapped, isHere } = await findMountOf(descriptor.fd, tried);
		const ns = await namespaces.fd(oneOwn());
		const outcome = await tryPart(descriptor.fd, { path: "", mountId: 0, mode: PART.map, ns });
		if (outcome.step === "open_tree") return { ...mount, ...notCopied(outcome, isHere, tried) };
		if (outcome.error !== ERRNO.EPERM) return { ...mount, ...judge(outcome, mount.fsType) };
		const again = await tryPart(descriptor.fd, { path: "", mountId: 0, mode: PART.remap, ns });
		return { ...mount, ...judgeMapped(again, idmapped) };
	} finally {
		namespaces.close();
		descriptor.close();
	}
}

function openError(tried: string, held: Outcome): UsernsError {
	const step = held.step === "target" || held.step === "duplicate" ? "source" : held.step;
	return lookUpError("ERR_USERNS_MOUNT", tried, step === undefined ? held : { ...held, step }, openHints);
}

const openHints: Record<number, string> = {
	[ERRNO.EBADF]: "Pass an open descriptor.",
};

interface Located {
	mount: Pick<MountSupport, "fsType" | "mountPoint">;
	idmapped: boolean;
	/** Whether the mount is in the mount namespace of this process. */
	isHere: boolean;
}

async function findMountOf(fd: number, tried: string): Promise<Located> {
	const entry = await runAsync(findMount(fd, undefined, "ERR_USERNS_READ_MOUNTS", tried));
	const { fsType = "unknown", mountPoint = "outside this mount namespace" } = entry ?? {};
	const isHere = entry !== undefined;
	return { mount: { fsType, mountPoint }, idmapped: isHere && isIdmapped(entry), isHere };
}

type Verdict = Pick<MountSupport, "supported" | "reason" | "hint">;

function notCopied(outcome: Outcome, isHere: boolean, tried: string): Verdict {
	if (outcome.error === ERRNO.ENOSYS) return noSuchCall("open_tree");
	if (outcome.error !== ERRNO.EINVAL) throw mountError(tried, "", outcome);
	// may_copy_tree() in fs/namespace.c. Neither kind of mount is in the mount table of this process.
	if (!isHere) {
		return {
			supported: false,
			reason:
				"its mount cannot be copied: it is in another mount namespace, or detached and unbindable, or detached before Linux 6.15",
			hint: "Test it in its mount namespace, for example with nsenter --target PID --mount.",
		};
	}
	return {
		supported: false,
		reason:
			"its mount cannot be copied: it is unbindable, or mounts below it are locked (mount_namespaces(7))",
		hint: "Pass a directory below it, or make it bindable: mount --make-private.",
	};
}

function noSuchCall(call: string): Verdict {
	return {
		supported: false,
		reason: `no ID-mapped mounts can be made: ${call}(2) fails with ENOSYS`,
		hint: missingCallHint(call),
	};
}

function judge(outcome: Outcome, fsType: string): Verdict {
	if (outcome.error >= 0) return { supported: true, reason: "a copy of its mount was mapped" };
	if (outcome.error === ERRNO.ENOSYS) return noSuchCall("mount_setattr");
	if (outcome.error === ERRNO.EINVAL) {
		return {
			supported: false,
			reason: `the kernel cannot map mounts of this ${fsType}: ${describeErrno(outcome.error)}`,
			hint: `${fileSystemFix(fsType)}.`,
		};
	}
	return {
		supported: false,
		reason: `a copy of its mount could not be mapped: ${describeErrno(outcome.error)}`,
	};
}

/** EPERM has two causes: the mount has a map, or the caller lacks CAP_SYS_ADMIN. Replacing the map distinguishes them. */
function judgeMapped(again: Outcome, idmapped: boolean): Verdict {
	if (again.error >= 0 && idmapped) {
		return { supported: true, reason: "it is already ID-mapped, and the map of a copy was replaced" };
	}
	if (again.error >= 0) return { supported: true, reason: "a copy of its mount was mapped" };
	if (again.error === ERRNO.ENOSYS && idmapped) {
		return {
			supported: false,
			reason: "it is already ID-mapped, and this kernel cannot replace the map of a copy",
			hint: "Mount the source of that mount, or use Linux 6.15 or later (open_tree_attr(2)).",
		};
	}
	const refused = mapRefused(
		"mount_setattr",
		"Call it as root of the user namespace that owns the file system.",
	)();
	return {
		supported: false,
		reason: "its file system belongs to a user namespace in which the caller has no CAP_SYS_ADMIN (EPERM)",
		hint: typeof refused === "object" ? (hintOfCauses(refused) ?? "") : refused,
	};
}
