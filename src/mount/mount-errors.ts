import type { UsernsError } from "../errors.ts";
import type { Refusal } from "../inspect/cause.ts";
import { causeHint, findCauses, remainingHint } from "../inspect/causes.ts";
import type { DryCall } from "../inspect/facts.ts";
import { native, type Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { SILENT_PATH } from "../native/lookup.ts";
import { missingCallHint } from "../native/missing-call.ts";
import { type Hint, hintOf, kernelError, type StepHints, shorten } from "../native/steps.ts";
import type { TreeMount } from "./source-tree.ts";

type Failure = Pick<Outcome, "error" | "step" | "log">;

/** The error for a mount that was not created or attached. `mount` is the one mount of a tree that failed. */
export function mountError(tried: string, mapping: string, outcome: Failure, mount?: TreeMount): UsernsError {
	const { error, step } = outcome;
	const where = mount === undefined ? "" : `, for the ${mount.fsType} at ${mount.mountPoint}`;
	const log = outcome.log ? `, and the kernel's log says: ${firstLine(outcome.log)}` : "";
	// move_mount(2) accepts a target in a detached tree since Linux 6.15, and fails with EINVAL before.
	const old = error === ERRNO.ENOSYS || (step === "assemble" && error === ERRNO.EINVAL);
	const code = old ? "ERR_USERNS_UNSUPPORTED_KERNEL" : "ERR_USERNS_MOUNT";
	const isOverlay = mount?.fsType === "overlay" && step === "mount_setattr" && error === ERRNO.EINVAL;
	const details = { ...(mapping !== "" && { mapping }), hint: isOverlay ? OVERLAY : hintOf(hints, outcome) };
	return kernelError(code, `${tried}${where}${log}`, outcome, details);
}

/**
 * The error for a mount that was not attached. The kernel refuses a file on a directory and a directory on a file with an errno that has
 * other causes too, so both are opened again and compared.
 */
export async function attachError(
	tried: string,
	mapping: string,
	outcome: Failure,
	openSource: () => Promise<Outcome>,
	openTarget: () => Promise<Outcome>,
): Promise<UsernsError> {
	const { error, step } = outcome;
	const isRefused = error === ERRNO.EINVAL || error === ERRNO.ENOTDIR;
	if (isRefused && (step === "move_mount" || step === "beneath")) {
		const source = await isDirectory(openSource);
		const target = await isDirectory(openTarget);
		if (source !== undefined && target === !source) {
			const [what, on, program] = source
				? ["directory", "file", "mkdir(1)"]
				: ["file", "directory", "touch(1)"];
			const hint = `Use a ${what} as the target, such as one that ${program} makes.`;
			return kernelError("ERR_USERNS_MOUNT", `${tried}: a ${what} cannot be mounted on a ${on}`, outcome, {
				...(mapping !== "" && { mapping }),
				hint,
			});
		}
	}
	return mountError(tried, mapping, outcome);
}

/** Undefined if that cannot be found. */
async function isDirectory(open: () => Promise<Outcome>): Promise<boolean | undefined> {
	const opened = await open();
	if (opened.error < 0) return undefined;
	try {
		const itself = await native().openLocation(opened.fd, ".", 0, -1, false);
		if (itself.error >= 0) native().close(itself.fd);
		return itself.error >= 0 ? true : itself.error === ERRNO.ENOTDIR ? false : undefined;
	} finally {
		native().close(opened.fd);
	}
}

/** The operation and its operands, for a message. */
export function triedTo(source: string, target: string, mapping: string): string {
	const which = mapping === "" ? "without a map" : `with the mapping ${shorten(mapping)}`;
	return `cannot mount ${source}${target === "" ? "" : ` at ${target}`} ${which}`;
}

/** The first line of the kernel's log, such as "e overlay: …", without its level. */
function firstLine(log: string): string {
	return (log.split("\n", 1)[0] ?? "").replace(/^[ewi] /, "");
}

const NO_MAP =
	"Map another file system, or set { skipUnsupported: true } in a recursive mount. supports() tells what this kernel can map.";
const OVERLAY =
	"Use Linux 7.3 or later, or map the layers of that overlay instead: an overlay itself cannot be ID-mapped before.";
const COVERED = "Unmount the old mount, which covers the new one.";
const PERHAPS_COVERED = "Check with findmnt(8): the new mount is beneath the old one, or has replaced it.";
const WRITER = "Try again: a program holds a file open for writing through the copy of the mount.";
const CHANGING = "Try again when the mounts below the source no longer change.";
const PERHAPS_ATTACHED = "Check with findmnt(8) whether the mount is attached, and unmount it.";
const NOT_A_DIRECTORY = "Check the path: a name on it is a file, not a directory.";
const SAME_TYPE = "Use a directory as the target of a directory, and a file as the target of a file.";

function privilege(operation: Refusal["operation"], doing: string, call?: DryCall): Hint | undefined {
	return causeHint({ operation, doing, needs: ["CAP_SYS_ADMIN"], calls: call === undefined ? [] : [call] });
}

/** The hint for EPERM of a call that needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace. */
export function mountRefused(doing: string, call?: DryCall): () => Hint {
	return () => privilege("mount", doing, call) ?? remainingHint("mount");
}

/** The hint for EPERM of a call that sets a map, which needs CAP_SYS_ADMIN in the user namespace that owns the file system. */
export const mapRefused =
	(call: DryCall, otherwise: string): (() => Hint) =>
	() =>
		privilege("map a mount", "the map of a mount", call) ?? otherwise;

/** Whether EPERM means that the file system was mounted in another user namespace than the one in which the caller is privileged. */
export function isForeignFileSystem({ error, step }: Failure): boolean {
	if (error !== ERRNO.EPERM || step !== "mount_setattr") return false;
	return findCauses({ operation: "map a mount", doing: "" }).some(({ id }) => id === "foreign-file-system");
}

/** The hint for EPERM of setns(2) with a mount namespace, which also needs capabilities in the caller's own user namespace. */
export function joinRefused(): Hint | undefined {
	return causeHint({
		operation: "join",
		doing: "joining a mount namespace",
		needs: ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"],
		calls: ["setns"],
	});
}

const LAYER: Readonly<Record<number, string>> = {
	[ERRNO.ENOENT]: "Create the upper layer and the work directory first, both in one directory.",
	[ERRNO.EINVAL]: "Use a writable directory on a file system with extended attributes, not on an overlay.",
};

const KEEP_UPPER =
	"Set { keepUpper: true }, which leaves the owner and mode of the upper layer as they are, and set them yourself.";

const hints: StepHints = {
	source: {
		[ERRNO.EBADF]: "Pass an open descriptor.",
		[ERRNO.ENOENT]: "Check the path: it does not exist.",
		[ERRNO.ENOTDIR]: NOT_A_DIRECTORY,
		[ERRNO.ELOOP]:
			'Name the source without symbolic links: { resolve: "no-symlinks" } refuses them, and from those of /proc.',
		[ERRNO.ETIMEDOUT]: SILENT_PATH,
	},
	open_tree: {
		[ERRNO.EBADF]: "Pass an open descriptor as the source.",
		[ERRNO.EPERM]: mountRefused("mounting", "open_tree"),
		[ERRNO.ENOTDIR]: NOT_A_DIRECTORY,
		[ERRNO.ENOENT]: "Check the source: it does not exist.",
		[ERRNO.EINVAL]:
			"Set { recursive: true } if mounts below the source are locked to it. Its mount must not be unbindable or, before Linux 6.15, detached.",
	},
	mount_setattr: {
		[ERRNO.EINVAL]: NO_MAP,
		[ERRNO.EPERM]: mapRefused(
			"mount_setattr",
			"Use a source that is not ID-mapped, and another map than that of the initial user namespace: the kernel refuses both.",
		),
		[ERRNO.EBUSY]: WRITER,
	},
	open_tree_attr: {
		[ERRNO.EINVAL]: NO_MAP,
		[ERRNO.EPERM]: mapRefused(
			"open_tree_attr",
			"Use CAP_SYS_ADMIN in the user namespace that owns the file system, to replace the map.",
		),
		[ERRNO.EBUSY]: WRITER,
		[ERRNO.ENOSYS]: () =>
			`${missingCallHint("open_tree_attr")} The source is ID-mapped, and only this call replaces a map.`,
	},
	assemble: {
		[ERRNO.EINVAL]:
			"Use Linux 6.15 or later, or leave recursive out: the mounts of this tree need different maps, and older kernels cannot assemble them.",
	},
	submount: {
		[ERRNO.ENOENT]: CHANGING,
		[ERRNO.EAGAIN]: CHANGING,
	},
	target: {
		[ERRNO.ENOENT]: "Create the target first: a directory for a directory, a file for a file.",
		[ERRNO.ENOTDIR]: NOT_A_DIRECTORY,
		[ERRNO.EACCES]: "Let the caller search each directory on the target's path.",
		[ERRNO.ELOOP]:
			'Name the target without symbolic links: { resolve: "no-symlinks" } or targetRoot refuses them.',
		[ERRNO.EAGAIN]: "Try again: another process renamed directories on the target's path during the call.",
		[ERRNO.EBADF]: "Pass an open descriptor as the target.",
	},
	move_mount: {
		[ERRNO.ENOTDIR]: SAME_TYPE,
		[ERRNO.ENOENT]: "Create the target again: it was removed.",
		[ERRNO.EINVAL]: `${SAME_TYPE} The target must be in the mount namespace of the attach.`,
		[ERRNO.ELOOP]: "Use a target outside the source's tree, which is unbindable or shared there.",
		[ERRNO.EPERM]: mountRefused("attaching a mount", "move_mount"),
		[ERRNO.EACCES]: mountRefused("attaching a mount", "move_mount"),
	},
	beneath: {
		[ERRNO.EACCES]: mountRefused("attaching a mount", "move_mount"),
		[ERRNO.ENOTDIR]: SAME_TYPE,
		[ERRNO.EINVAL]: `${SAME_TYPE} The target must not be the root directory or a locked mount. Before Linux 6.5 no mount can be replaced.`,
	},
	"umount old": {
		[ERRNO.EINVAL]: COVERED,
		[ERRNO.ENOTDIR]: COVERED,
		[ERRNO.ETIMEDOUT]: PERHAPS_COVERED,
		[ERRNO.ECANCELED]: PERHAPS_COVERED,
		[ERRNO.EINTR]: PERHAPS_COVERED,
	},
	mntns: {
		[ERRNO.ETIMEDOUT]:
			"Use a target in a directory that other users cannot read: a file system, or a process with the directory's lock, blocked the child. Nothing is attached, now or later.",
		[ERRNO.ECANCELED]: "Call again: the thread was terminated. Nothing is attached, now or later.",
	},
	"mntns held": {
		[ERRNO.ETIMEDOUT]:
			"Check with findmnt(8), and unmount it: a file system, or a process with the lock of the target's directory, blocked the call. Before Linux 6.15 it can still be attached later.",
	},
	"mntns descriptors": {
		[ERRNO.ETIMEDOUT]:
			"Close the open file of this process whose FUSE or network file system does not answer. Nothing is attached.",
	},
	"mntns killed": {
		[ERRNO.EINTR]: "Try again: the child process was killed, for example because memory ran out.",
	},
	"mntns left": {
		[ERRNO.ETIMEDOUT]: PERHAPS_ATTACHED,
		[ERRNO.EINTR]: PERHAPS_ATTACHED,
	},
	identity: {
		[ERRNO.ESTALE]:
			"Create the mount again: other code in this process closed descriptor numbers of this package. Nothing was attached.",
	},
	thread: {
		[ERRNO.EAGAIN]: "Raise the limit on processes and threads: RLIMIT_NPROC, or pids.max of the cgroup.",
	},
	"overlay silent": {
		[ERRNO.ETIMEDOUT]: "Check the file systems of the layers: one of them did not answer within ten seconds.",
	},
	setns: {
		[ERRNO.EPERM]: () =>
			joinRefused() ?? "Use CAP_SYS_ADMIN in the user namespace that owns the mount namespace.",
	},
	"overlay lower": {
		[ERRNO.E2BIG]:
			"Use fewer lower layers, or Linux 6.7 or later: before, the kernel takes the names of all layers in one text of 255 bytes.",
		[ERRNO.EINVAL]: "Use a directory as the layer. It must not be on an overlay of an overlay.",
	},
	"overlay upper": LAYER,
	"overlay work": LAYER,
	"upper owner": {
		[ERRNO.EPERM]: KEEP_UPPER,
		[ERRNO.EACCES]: KEEP_UPPER,
		[ERRNO.EINVAL]: KEEP_UPPER,
		[ERRNO.EOVERFLOW]: KEEP_UPPER,
	},
	"overlay create": {
		[ERRNO.EINVAL]:
			"Use two directories of one mount, neither within the other, as upper layer and work directory, on a file system with extended attributes.",
		[ERRNO.EBUSY]: "Use another upper layer and work directory: another overlay uses these.",
		[ERRNO.ELOOP]: "Use layers that do not contain each other.",
	},
	"overlay writable": {
		[ERRNO.EROFS]:
			"Use an upper layer on a writable file system, and with mapUpper a mapping whose visible IDs include the caller's own: otherwise the kernel makes a read-only overlay.",
	},
	fsopen: {
		[ERRNO.EPERM]: mountRefused("an overlay"),
		[ERRNO.ENODEV]: "Load the overlay file system: modprobe overlay.",
	},
};
