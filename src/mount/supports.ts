import { describeErrno, invalidArgument, type UsernsError } from "../errors.ts";
import { Mapping } from "../mapping/mapping.ts";
import { native, type Outcome, PART, WALK_END } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { runAsync } from "../native/operation.ts";
import { copyOptions } from "../options.ts";
import { checkLocation, showLocation } from "./attach-options.ts";
import { findMount } from "./find-mount.ts";
import { MapNamespaces } from "./map-namespaces.ts";
import { mountError } from "./mount-errors.ts";
import { checkPathOptions, lookUp, lookUpError, PATH_OPTIONS, type PathOptions } from "./path-options.ts";
import { tryPart } from "./tree-plan.ts";

/** Whether what is at a path can be shown through an ID-mapped mount. */
export interface MountSupport {
	supported: boolean;
	/** The file system's type, as mountinfo has it; "unknown" for a mount that is not in this mount namespace. */
	fsType: string;
	/** Where that mount is. */
	mountPoint: string;
	/** Why, or why not, in words. */
	reason: string;
	/** What to do when it is not. */
	hint?: string;
}

/**
 * Asks the kernel whether the mount that a path lies on can be ID-mapped, by mapping a copy of it that nobody sees and
 * dropping it again. It never goes by the name of the file system. Throws when the trial itself cannot be made: there is
 * no such path, or the caller may not mount. Throws for a symbolic link of another user on the path.
 */
export async function supports(path: string | number, options?: PathOptions): Promise<MountSupport> {
	checkLocation("supports: the path", path);
	const checked = copyOptions<PathOptions>("supports", options, PATH_OPTIONS);
	checkPathOptions("supports", checked);
	if (typeof path === "number" && checked.targetRoot !== undefined) {
		throw invalidArgument("supports: targetRoot is of no use beside a path that is a descriptor");
	}
	const tried = `cannot tell whether ${showLocation(path)} can be ID-mapped`;
	const held =
		typeof path === "number"
			? native().duplicate(path)
			: await runAsync(lookUp(WALK_END.place, path, checked));
	if (held.error < 0) throw openError(tried, held);
	const descriptor = new Descriptor(held.fd, "path");
	const namespaces = new MapNamespaces(undefined);
	try {
		const { place, idmapped } = await locate(descriptor.fd, tried);
		const ns = await namespaces.fd(throwAway());
		const outcome = await tryPart(descriptor.fd, { path: "", mountId: 0, mode: PART.map, ns });
		if (outcome.step === "open_tree") return { ...place, ...notCopied(outcome, tried) };
		if (outcome.error !== ERRNO.EPERM) return { ...place, ...judge(outcome, place.fsType) };
		const again = await tryPart(descriptor.fd, { path: "", mountId: 0, mode: PART.remap, ns });
		return { ...place, ...judgeMapped(again, idmapped) };
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
	[ERRNO.EBADF]: "That is not an open descriptor.",
};

/** An own ID suffices, and any caller who may mount at all can have a namespace with that. */
function throwAway(): Mapping {
	const uid = process.geteuid?.() ?? 0;
	const gid = process.getegid?.() ?? 0;
	const one = (id: number) => [{ containerID: id, hostID: id, size: 1 }];
	return Mapping.from({ uidMappings: one(uid), gidMappings: one(gid) });
}

interface Located {
	place: Pick<MountSupport, "fsType" | "mountPoint">;
	idmapped: boolean;
}

async function locate(fd: number, tried: string): Promise<Located> {
	const entry = await runAsync(findMount(fd, undefined, "ERR_USERNS_READ_MOUNTS", tried));
	const { fsType = "unknown", mountPoint = "outside this mount namespace" } = entry ?? {};
	return { place: { fsType, mountPoint }, idmapped: entry?.options.includes("idmapped") ?? false };
}

type Verdict = Pick<MountSupport, "supported" | "reason" | "hint">;

function notCopied(outcome: Outcome, tried: string): Verdict {
	if (outcome.error === ERRNO.ENOSYS) return noSuchCall("open_tree(2)");
	if (outcome.error !== ERRNO.EINVAL) throw mountError(tried, "", outcome);
	return {
		supported: false,
		reason:
			"its mount cannot be copied: it is unbindable, or has mounts on it that may only be shown with it",
		hint: "Name a directory below it, or make it bindable: mount --make-private.",
	};
}

function noSuchCall(call: string): Verdict {
	return {
		supported: false,
		reason: `this kernel has no ID-mapped mounts: ${call} is missing`,
		hint: "They need Linux 5.12; or a seccomp filter hides the call.",
	};
}

function judge(outcome: Outcome, fsType: string): Verdict {
	if (outcome.error >= 0) return { supported: true, reason: "a copy of its mount took a map" };
	if (outcome.error === ERRNO.ENOSYS) return noSuchCall("mount_setattr(2)");
	if (outcome.error === ERRNO.EINVAL) {
		return {
			supported: false,
			reason: `the kernel maps no mounts of this ${fsType} (${describeErrno(outcome.error)})`,
			hint: "Map what lies below it instead: the layers of an overlay, the directory that fuse or 9p shares. A newer kernel may know more file systems.",
		};
	}
	return {
		supported: false,
		reason: `a copy of its mount did not take a map: ${describeErrno(outcome.error)}`,
	};
}

/** EPERM is for a mount that has a map, and for a file system of others: a second map in place of the first tells. */
function judgeMapped(again: Outcome, idmapped: boolean): Verdict {
	if (again.error >= 0 && idmapped) {
		return { supported: true, reason: "it is ID-mapped already, and a copy of its mount took another map" };
	}
	if (again.error >= 0) return { supported: true, reason: "a copy of its mount took a map" };
	if (again.error === ERRNO.ENOSYS && idmapped) {
		return {
			supported: false,
			reason: "it is ID-mapped already, and this kernel cannot give a copy another map",
			hint: "open_tree_attr(2), Linux 6.15, can; mount what is below that mount instead.",
		};
	}
	return {
		supported: false,
		reason: "its file system belongs to a user namespace in which the caller has no CAP_SYS_ADMIN (EPERM)",
		hint: "Ask as root of the user namespace in which it was mounted.",
	};
}
