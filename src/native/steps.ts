import { describeErrno, UsernsError, type UsernsErrorCode, type UsernsErrorDetails } from "../errors.ts";
import type { Outcome } from "./addon.ts";
import { ERRNO } from "./errno.ts";

/** For each step that the C part names: the words for people, and the system call that said no. */
const steps: Record<string, readonly [words: string, syscall: string]> = {
	clone: ["starting the process", "clone"],
	proc: ["finding the process in /proc", "openat2"],
	uid_map: ["the process's uid_map", "write"],
	gid_map: ["the process's gid_map", "write"],
	setgroups: ["the process's setgroups file", "write"],
	namespace: ["opening the process's user namespace", "ioctl"],
	pidfd: ["finding the process", "pidfd_open"],
	open: ["opening the path", "open"],
	duplicate: ["duplicating the descriptor", "fcntl"],
	parent: ["opening the parent namespace", "ioctl"],
	identify: ["looking at the descriptor", "fstat"],
	owner: ["asking for the owner", "ioctl"],
	execute: ["executing userns-join", "execve"],
	socketpair: ["making a socket pair", "socketpair"],
	traceable: ["making sure that the joining process cannot be traced", "setns"],
	suid_dumpable: ["reading fs.suid_dumpable", "open"],
	join: ["joining the namespace", "setns"],
	newuidmap: ["running newuidmap", "execve"],
	newgidmap: ["running newgidmap", "execve"],
	"enter prctl": ["becoming untraceable", "prctl"],
	"enter descriptors": ["arranging the descriptors", "dup3"],
	"enter close_range": ["closing the other descriptors", "close_range"],
	"enter setsid": ["leaving the session", "setsid"],
	"enter setgroups": ["setting the supplementary groups", "setgroups"],
	"enter setns": ["joining the user namespace", "setns"],
	"enter unshare": ["making the other namespaces", "unshare"],
	"enter mount": ["making the mounts private", "mount"],
	"enter setgid": ["becoming the gid", "setresgid"],
	"enter setuid": ["becoming the uid", "setresuid"],
	"enter capset": ["dropping the capabilities", "capset"],
	"enter pipe": ["making a pipe", "pipe2"],
	"enter fork": ["starting the process in the new namespace", "clone"],
	"enter execve": ["executing the program", "execve"],
	"enter program": ["executing userns-enter", "execve"],
	open_tree: ["copying the source's mount", "open_tree"],
	mount_setattr: ["setting the map and the attributes", "mount_setattr"],
	statx: ["looking at the mount", "statx"],
	target: ["opening the target", "open"],
	move_mount: ["attaching the mount", "move_mount"],
	propagation: ["setting the propagation of the attached mount", "mount_setattr"],
	umount: ["taking the mount off", "umount2"],
	source: ["opening the source", "openat2"],
	submount: ["opening a mount below the source", "openat2"],
	open_tree_attr: ["copying the source's mount with another map", "open_tree_attr"],
	assemble: ["putting the tree together", "move_mount"],
	beneath: ["putting the mount beneath the old one", "move_mount"],
	"propagation beneath": [
		"setting the propagation of the mount, which has taken the old one's place",
		"mount_setattr",
	],
	"umount old": ["taking the old mount off", "umount2"],
	setns: ["joining the mount namespace", "setns"],
	mntns: ["working in the mount namespace", "openat2"],
	"mntns descriptors": ["closing the descriptors that a child process does not need", "close_range"],
	"mntns held": ["working in the mount namespace", "move_mount"],
	"mntns killed": ["working in the mount namespace: the process was killed", "clone"],
	"mntns left": ["working in the mount namespace; the mount could not be unmounted again", "umount2"],
	"propagation left": [
		"setting the propagation of the mount, which could not be unmounted again and stays",
		"mount_setattr",
	],
	left: ["unmounting the mount again; the mount stays", "umount2"],
	peers: ["making the mount a peer of its source", "move_mount"],
	identity: ["comparing the mount's ID", "statx"],
	thread: ["starting a thread", "clone"],
	"mount namespace": ["opening the process's mount namespace", "ioctl"],
	"process root": ["opening the process's root directory", "openat"],
	"process mounts": ["opening the process's mountinfo", "openat2"],
	"read mounts": ["reading the table of mounts", "read"],
	"mount table": ["reading the mounts of the mount namespace", "setns"],
	fsopen: ["asking for an overlay", "fsopen"],
	"overlay lower": ["adding a lower layer", "fsconfig"],
	"overlay upper": ["adding the upper layer", "fsconfig"],
	"overlay work": ["adding the work directory", "fsconfig"],
	"overlay layers": ["attaching the layers in a mount namespace of a child", "move_mount"],
	"overlay create": ["making the overlay", "fsconfig"],
	"overlay silent": ["making the overlay", "fsconfig"],
	"overlay in use": ["checking whether the layers are in use", "fsconfig"],
	"overlay writable": ["looking whether the overlay can be written", "fstatfs"],
	fsmount: ["making a mount of the overlay", "fsmount"],
	statmount: ["asking about a mount", "statmount"],
	listmount: ["listing the mounts", "listmount"],
	link: ["following a symbolic link", "readlinkat"],
	"link owner": ["following a symbolic link", "readlinkat"],
	"link fuse": ["following a symbolic link", "readlinkat"],
	"link idmapped": ["following a symbolic link", "readlinkat"],
	"remove file": ["removing its file, after it was unmounted", "unlinkat"],
	own: ["keeping the descriptor", "malloc"],
	cancelled: ["waiting for a thread", "none"],
};

/** A failure that the kernel told of, as an error: what was tried, the step, the kernel's own word, what to do. */
export function kernelError(
	code: UsernsErrorCode,
	tried: string,
	outcome: Pick<Outcome, "error" | "step">,
	details: Pick<UsernsErrorDetails, "hint" | "mapping"> = {},
): UsernsError {
	const [words, syscall] = steps[outcome.step ?? ""] ?? [outcome.step ?? "a step", outcome.step];
	return new UsernsError(code, `${tried}: ${words}: ${describeErrno(outcome.error)}`, {
		...details,
		hint: details.hint ?? generalHint(outcome.error),
		errno: outcome.error,
		syscall,
		step: words,
	});
}

/** A mapping in a message: hundreds of extents tell nobody anything. The error's `mapping` has them all. */
export function shorten(id: string): string {
	return id.length <= 100 ? id : `${id.slice(0, 80)}… (${id.split(",").length} extents)`;
}

/** What helps whatever was tried. */
function generalHint(error: number): string | undefined {
	switch (error) {
		case ERRNO.EMFILE:
			return "This process has as many descriptors open as it may (RLIMIT_NOFILE, ulimit -n): close some or raise the limit.";
		case ERRNO.ENFILE:
			return "The machine has as many files open as it may: see /proc/sys/fs/file-max.";
		case ERRNO.ENOMEM:
			return "The kernel is short of memory, or the pid namespace of this process has lost its init.";
		case ERRNO.ENOSYS:
			return "The kernel is too old, or a seccomp filter hides the call (as some container engines' do).";
		default:
			return undefined;
	}
}
