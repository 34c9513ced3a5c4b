import { describeErrno, type FoundCause, UsernsError, type UsernsErrorCode } from "../errors.ts";
import type { Outcome } from "./addon.ts";
import { ERRNO } from "./errno.ts";
import { missingCallHint } from "./missing-call.ts";

/**
 * Each step that the C part and userns-enter name in an outcome, in words, with the system call that failed.
 * test/unit/steps.test.ts holds the keys against the C source.
 */
const table = {
	clone: ["starting the process", "clone"],
	unshare: ["starting the process", "unshare"],
	proc: ["finding the process in /proc", "openat2"],
	uid_map: ["the process's uid_map", "write"],
	gid_map: ["the process's gid_map", "write"],
	setgroups: ["the process's setgroups file", "write"],
	namespace: ["opening the process's user namespace", "ioctl"],
	pidfd: ["finding the process", "pidfd_open"],
	open: ["opening the path", "open"],
	handle: ["opening the namespace by its ID", "open_by_handle_at"],
	listns: ["listing the namespaces", "listns"],
	duplicate: ["duplicating the descriptor", "fcntl"],
	parent: ["opening the parent namespace", "ioctl"],
	identify: ["identifying the descriptor", "fstat"],
	owner: ["reading the owner", "ioctl"],
	"own program": ["preparing a program of this package", "memfd_create"],
	"own path": ["finding the program of this package in /proc", "open"],
	execute: ["executing userns-join", "execveat"],
	socketpair: ["creating a socket pair", "socketpair"],
	traceable: ["protecting the joining process from being traced", "setns"],
	suid_dumpable: ["reading fs.suid_dumpable", "open"],
	join: ["joining the namespace", "setns"],
	newuidmap: ["running newuidmap", "execve"],
	newgidmap: ["running newgidmap", "execve"],
	"enter prctl": ["making the process untraceable", "prctl"],
	"enter descriptors": ["moving the descriptors", "dup3"],
	"enter close_range": ["closing the other descriptors", "close_range"],
	"enter setsid": ["leaving the session", "setsid"],
	"enter setgroups": ["setting the supplementary groups", "setgroups"],
	"enter setns": ["joining the user namespace", "setns"],
	"enter join": ["joining the namespaces of the process", "setns"],
	"enter moved": ["comparing the user namespace of the process", "setns"],
	"enter loopback": ["bringing up the loopback device", "ioctl"],
	"enter chdir": ["entering the working directory", "chdir"],
	"enter no_new_privs": ["setting no_new_privs", "prctl"],
	"enter unshare": ["creating the other namespaces", "unshare"],
	"enter mount": ["making the mounts private", "mount"],
	"enter setgid": ["setting the gid", "setresgid"],
	"enter setuid": ["setting the uid", "setresuid"],
	"enter capset": ["dropping the capabilities", "capset"],
	"enter ask": ["reading the attributes of the file", "statx"],
	"enter pipe": ["creating a pipe", "pipe2"],
	"enter fork": ["starting the process in the new namespace", "clone"],
	"enter execve": ["executing the program", "execve"],
	"own table": ["giving the thread that executes userns-enter its own descriptor table", "close_range"],
	inherit: ["passing the descriptors to userns-enter", "fcntl"],
	"death signal": ["keeping the signal of the parent's death", "prctl"],
	"enter program": ["executing userns-enter", "execveat"],
	open_tree: ["copying the source's mount", "open_tree"],
	"pin copy": ["copying the namespace's mount", "open_tree"],
	mount_setattr: ["setting the map and the attributes", "mount_setattr"],
	statx: ["reading the mount ID", "statx"],
	target: ["opening the target", "open"],
	move_mount: ["attaching the mount", "move_mount"],
	propagation: ["setting the propagation of the attached mount", "mount_setattr"],
	umount: ["unmounting the mount", "umount2"],
	source: ["opening the source", "openat2"],
	submount: ["opening a mount below the source", "openat2"],
	open_tree_attr: ["copying the source's mount with another map", "open_tree_attr"],
	assemble: ["assembling the tree", "move_mount"],
	beneath: ["attaching the mount beneath the old one", "move_mount"],
	"propagation beneath": [
		"setting the propagation of the mount, which has replaced the old one",
		"mount_setattr",
	],
	"umount old": ["unmounting the old mount", "umount2"],
	setns: ["joining the mount namespace", "setns"],
	mntns: ["working in the mount namespace", "openat2"],
	"mntns descriptors": ["closing the descriptors that the child process does not need", "close_range"],
	"mntns held": ["working in the mount namespace", "move_mount"],
	"mntns killed": ["working in the mount namespace: the process was killed", "clone"],
	"mntns left": ["working in the mount namespace; undoing the attach failed, and the mount stays", "umount2"],
	"propagation left": [
		"setting the propagation; undoing the attach failed, and the mount stays",
		"mount_setattr",
	],
	left: ["undoing the attach; the mount stays", "umount2"],
	peers: ["making the mount a peer of its source", "move_mount"],
	identity: ["comparing the mount's ID", "statx"],
	thread: ["starting a thread", "clone"],
	"process namespace": ["opening a namespace of the process", "ioctl"],
	"owner namespace": ["opening the user namespace that owns the mount namespace", "ioctl"],
	"file owner": ["reading the owner of the source", "statx"],
	"process root": ["opening the process's root directory", "openat"],
	"process mounts": ["opening the process's mountinfo", "openat2"],
	"read mounts": ["reading the mount table", "read"],
	"mount table": ["reading the mounts of the mount namespace", "setns"],
	fsopen: ["opening the overlay file system", "fsopen"],
	"overlay lower": ["adding a lower layer", "fsconfig"],
	"overlay upper": ["adding the upper layer", "fsconfig"],
	"overlay work": ["adding the work directory", "fsconfig"],
	"upper owner": ["giving the new upper layer the owner and mode of the topmost lower layer", "fchown"],
	"overlay layers": ["attaching the layers in a mount namespace of a child process", "move_mount"],
	"overlay create": ["creating the overlay", "fsconfig"],
	"overlay silent": ["creating the overlay", "fsconfig"],
	"overlay in use": ["checking whether the layers are in use", "fsconfig"],
	"overlay writable": ["checking whether the overlay is writable", "fstatfs"],
	fsmount: ["creating the mount of the overlay", "fsmount"],
	"open_tree namespace": ["copying the mount into a new mount namespace", "open_tree"],
	statmount: ["reading the attributes of a mount", "statmount"],
	listmount: ["listing the mounts", "listmount"],
	link: ["following a symbolic link", "readlinkat"],
	"link owner": ["following a symbolic link", "readlinkat"],
	"link fuse": ["following a symbolic link", "readlinkat"],
	"link idmapped": ["following a symbolic link", "readlinkat"],
	"remove file": ["removing the file after the unmount", "unlinkat"],
	own: ["registering the descriptor", "malloc"],
} as const;

/** The name of a step. Hints are keyed by it, so that a hint for a step that does not exist fails to compile. */
export type StepName = keyof typeof table;

export const steps: Readonly<Record<StepName, readonly [words: string, syscall: string]>> = table;

/** The hint for an errno; a function if the cause must be looked for. */
export type Hints = Readonly<Record<number, string | (() => Hint | undefined)>>;

/** A sentence, or the causes from which it is made. */
export type Hint = string | readonly FoundCause[];

/** Hints by step and errno. */
export type StepHints = Readonly<Partial<Record<StepName, Hints>>>;

/** The hint for an outcome; undefined if the table has none. */
export function hintOf(
	hints: StepHints,
	{ step = "", error }: Pick<Outcome, "error" | "step">,
): Hint | undefined {
	return Object.hasOwn(hints, step) ? hintIn(hints[step as StepName], error) : undefined;
}

/** The hint for an errno in one list. */
export function hintIn(hints: Hints | undefined, error: number): Hint | undefined {
	const hint = hints?.[error];
	return typeof hint === "function" ? hint() : hint;
}

/** The error for an outcome: `tried` states the operation and its operands; the step and the errno are added. */
export function kernelError(
	code: UsernsErrorCode,
	tried: string,
	outcome: Pick<Outcome, "error" | "step">,
	details: { hint?: Hint | undefined; mapping?: string | undefined } = {},
): UsernsError {
	const { error, step = "" } = outcome;
	const [words, syscall] = Object.hasOwn(steps, step) ? steps[step as StepName] : [step, step];
	const hint = details.hint ?? (error === ERRNO.ENOSYS ? missingCallHint(syscall) : generalHints[error]);
	return new UsernsError(code, `${tried}: ${words}: ${describeErrno(error)}`, {
		...details,
		...(typeof hint === "object" ? { hint: undefined, causes: hint } : { hint }),
		errno: error,
		syscall,
		step: words,
	});
}

/** A mapping in a message, cut to 100 characters. The error's `mapping` has all extents. */
export function shorten(id: string): string {
	return id.length <= 100 ? id : `${id.slice(0, 80)}… (${id.split(",").length} extents)`;
}

/** Hints for errnos that mean the same at every step. */
const generalHints: Readonly<Record<number, string>> = {
	[ERRNO.EMFILE]: "Close descriptors of this process, or raise their limit (RLIMIT_NOFILE, ulimit -n).",
	[ERRNO.ENFILE]: "Raise the limit on open files of this machine: /proc/sys/fs/file-max.",
	[ERRNO.ENOMEM]: "Free memory. If enough is free, the init process of this pid namespace has ended.",
};
