import type { UsernsError } from "../errors.ts";
import type { Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError, shorten } from "../native/steps.ts";
import type { TreeMount } from "./source-tree.ts";

type Failure = Pick<Outcome, "error" | "step" | "log">;

/** A mount that was not made or attached, in words. `place`: the one mount of a tree that refused. */
export function mountError(tried: string, mapping: string, outcome: Failure, place?: TreeMount): UsernsError {
	const { error, step = "" } = outcome;
	const where = place === undefined ? "" : `, for the ${place.fsType} at ${place.mountPoint}`;
	const said = outcome.log ? `, and the kernel says: ${firstLine(outcome.log)}` : "";
	// The assembling call is an old one that learned of detached targets in Linux 6.15 only.
	const old = error === ERRNO.ENOSYS || (step === "assemble" && error === ERRNO.EINVAL);
	return kernelError(
		old ? "ERR_USERNS_UNSUPPORTED_KERNEL" : "ERR_USERNS_MOUNT",
		`${tried}${where}${said}`,
		outcome,
		{ ...(mapping !== "" && { mapping }), hint: hints[step]?.[error] },
	);
}

/** What was tried, for a message. */
export function triedTo(source: string, target: string, mapping: string): string {
	const which = mapping === "" ? "without a map" : `with the mapping ${shorten(mapping)}`;
	return `cannot mount ${source}${target === "" ? "" : ` at ${target}`} ${which}`;
}

/** The kernel's log has lines such as "e overlay: …". */
function firstLine(log: string): string {
	return (log.split("\n", 1)[0] ?? "").replace(/^[ewi] /, "");
}

const BENEATH_NOW = "The new mount lies beneath the old one now: unmount the old one to see it.";
const BENEATH_PERHAPS =
	"The new mount lies beneath the old one, or has taken its place: look with findmnt(8). Nothing else was unmounted.";

const NO_MAP =
	"That file system cannot be ID-mapped (overlay, fuse, proc and others; tmpfs before Linux 6.3), or it belongs to that very user namespace. With recursive, skipUnsupported leaves such mounts below the source as they are.";

const LAYER: Record<number, string> = {
	[ERRNO.ENOENT]: "Make the upper layer and the work directory first: two directories of one folder.",
	[ERRNO.ENOTDIR]: "The upper layer and the work directory are directories.",
	[ERRNO.EINVAL]:
		"The kernel does not take that: it must be a directory that can be written, on a file system with extended attributes.",
};

const hints: Record<string, Record<number, string>> = {
	source: {
		[ERRNO.EBADF]: "That is not an open descriptor.",
		[ERRNO.ENOENT]: "There is no such path.",
		[ERRNO.ELOOP]: 'A symbolic link lies on the source\'s path, which resolve: "no-symlinks" refuses.',
		[ERRNO.ENOSYS]: "resolve needs openat2(2), Linux 5.6; or a seccomp filter hides it.",
	},
	open_tree: {
		[ERRNO.EBADF]: "The source is a descriptor that is not open.",
		[ERRNO.EPERM]:
			"Mounting needs CAP_SYS_ADMIN in the user namespace that owns this mount namespace: root, or root in a container of its own.",
		[ERRNO.ENOENT]: "The source does not exist.",
		[ERRNO.EINVAL]:
			"The source's mount is unbindable, or has mounts below it that may only be shown together with it: try recursive. One that is detached can be copied since Linux 6.15.",
		[ERRNO.ENOSYS]: "ID-mapped mounts need Linux 5.12; or a seccomp filter hides open_tree(2).",
	},
	mount_setattr: {
		[ERRNO.EINVAL]: NO_MAP,
		[ERRNO.EPERM]:
			"The source is ID-mapped already, or its file system belongs to a user namespace in which the caller has no CAP_SYS_ADMIN, or the namespace is the initial one.",
		[ERRNO.EBUSY]: "Somebody holds a file open for writing through the copy of the mount: try again.",
		[ERRNO.ENOSYS]: "ID-mapped mounts need Linux 5.12; or a seccomp filter hides mount_setattr(2).",
	},
	open_tree_attr: {
		[ERRNO.EINVAL]: NO_MAP,
		[ERRNO.EPERM]:
			"Giving an ID-mapped mount another map needs CAP_SYS_ADMIN in the user namespace that owns its file system.",
		[ERRNO.EBUSY]: "Somebody holds a file open for writing through the copy of the mount: try again.",
		[ERRNO.ENOSYS]:
			"The source is ID-mapped already. Only Linux 6.15 and later can give a copy of it another map or none, by open_tree_attr(2); a seccomp filter may hide that call.",
	},
	assemble: {
		[ERRNO.EINVAL]:
			"Some mounts of this tree need a map of their own. Putting such a tree together before anybody sees it needs Linux 6.15; without recursive it needs nothing.",
	},
	submount: {
		[ERRNO.ENOENT]:
			"The mounts below the source changed again and again meanwhile: try when they are at rest.",
		[ERRNO.EAGAIN]:
			"The mounts below the source changed again and again meanwhile: try when they are at rest.",
	},
	target: {
		[ERRNO.ENOENT]: "Make the target first: a directory for a directory, a file for a file.",
		[ERRNO.EACCES]: "The caller may not reach the target.",
		[ERRNO.ELOOP]:
			'A symbolic link lies on the target\'s path, where resolve: "no-symlinks" or targetRoot refuses it.',
		[ERRNO.EAGAIN]: "Somebody kept renaming what lies on the target's path: try again.",
		[ERRNO.ENOSYS]: "targetRoot, resolve and into need openat2(2), Linux 5.6; or a seccomp filter hides it.",
		[ERRNO.EBADF]: "The target is a descriptor that is not open.",
	},
	move_mount: {
		[ERRNO.ENOTDIR]: "A directory goes on a directory, and a file on a file.",
		[ERRNO.ENOENT]: "The target was removed.",
		[ERRNO.EINVAL]:
			"One of source and target is a directory and the other is not, or the target is not in the mount namespace of the attach.",
		[ERRNO.ELOOP]: "The target lies within the source's tree, which is unbindable or shared there.",
		[ERRNO.EPERM]: "Mounting needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace.",
	},
	beneath: {
		[ERRNO.EINVAL]:
			"Putting a mount beneath another needs Linux 6.5, and is refused beneath the root directory, beneath a mount that is locked, and where a directory would take the place of a file.",
	},
	"umount old": {
		[ERRNO.EINVAL]: BENEATH_NOW,
		[ERRNO.ENOTDIR]: BENEATH_NOW,
		[ERRNO.ETIMEDOUT]: BENEATH_PERHAPS,
		[ERRNO.ECANCELED]: BENEATH_PERHAPS,
		[ERRNO.EINTR]: BENEATH_PERHAPS,
	},
	mntns: {
		[ERRNO.ETIMEDOUT]:
			"A file system on the way to the target did not answer within ten seconds, or another process holds the lock of the target's directory. Nothing is attached, now or later: choose a target in a directory that other users cannot read.",
		[ERRNO.ECANCELED]: "The thread was terminated. Nothing is attached, now or later.",
	},
	"mntns held": {
		[ERRNO.ETIMEDOUT]:
			"A file system did not answer within ten seconds, or another process holds the lock of the target's directory. The mount may still be attached later, which only Linux 6.15 and later prevents: check with findmnt(8), and unmount it.",
	},
	"mntns descriptors": {
		[ERRNO.ETIMEDOUT]:
			"A file that this process has open lies on a FUSE or network file system that does not answer: close it. Nothing is attached.",
	},
	"mntns killed": {
		[ERRNO.EINTR]:
			"The child process that works in the mount namespace was killed, for example because memory ran out: try again.",
	},
	"mntns left": {
		[ERRNO.ETIMEDOUT]: "The mount may be attached: check with findmnt(8), and unmount it.",
		[ERRNO.EINTR]: "The mount may be attached: check with findmnt(8), and unmount it.",
	},
	identity: {
		[ERRNO.ESTALE]:
			"Other code in this process closed the mount's descriptor, which belongs to this package. Nothing was attached: make the mount again.",
	},
	thread: {
		[ERRNO.EAGAIN]: "A limit on processes and threads is reached: RLIMIT_NPROC, or pids.max of the cgroup.",
	},
	"overlay silent": {
		[ERRNO.ETIMEDOUT]: "The file system of a layer did not answer within ten seconds.",
	},
	setns: {
		[ERRNO.EPERM]:
			"Joining a mount namespace needs CAP_SYS_ADMIN in the user namespace that owns it, and CAP_SYS_ADMIN and CAP_SYS_CHROOT in one's own.",
	},
	"overlay lower": {
		[ERRNO.EINVAL]:
			"The kernel does not take that as a layer: a layer is a directory, not on an overlay of too great a depth.",
	},
	"overlay upper": LAYER,
	"overlay work": LAYER,
	"overlay create": {
		[ERRNO.EINVAL]:
			"The upper layer and the work directory must be two directories on one mount, neither within the other, on a file system with extended attributes.",
		[ERRNO.EBUSY]: "The upper layer or the work directory is in use by another overlay.",
		[ERRNO.ELOOP]: "The layers lie within each other.",
	},
	"overlay writable": {
		[ERRNO.EROFS]:
			"The kernel could not prepare the work directory, and would have made a read-only overlay. With mapUpper, the caller's own IDs must be among the visible ones of the mapping; and the upper layer's file system must be writable.",
	},
	fsopen: {
		[ERRNO.ENODEV]: "This kernel has no overlay file system: modprobe overlay.",
	},
};
