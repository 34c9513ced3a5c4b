import { UsernsError } from "../errors.ts";
import { Descriptor } from "../native/descriptor.ts";
import { linkOwner } from "../native/link-owner.ts";
import { native, type Outcome } from "../native/load.ts";
import { ERRNO, kernelError } from "../native/steps.ts";

/** Another mount namespace, and where paths in it start. */
export interface MountNamespace {
	descriptor: Descriptor;
	/** The root directory of the process that it was opened by; undefined: the root of the namespace. */
	root: Descriptor | undefined;
}

/** Opens the mount namespace of a process, or the one that a path leads to. */
export function openMountNamespace(into: number | string): MountNamespace {
	if (typeof into === "number") return openOfProcess(into);
	return adopt(into, native().openMountNamespace(into));
}

/** As `openMountNamespace`, with a bounded look-up of the path on another thread. */
export async function openMountNamespaceAsync(into: number | string): Promise<MountNamespace> {
	if (typeof into === "number") return openOfProcess(into);
	return adopt(into, await native().openNamespace(into, CLONE_NEWNS, linkOwner()));
}

/** <linux/sched.h> */
const CLONE_NEWNS = 0x00020000;

function adopt(into: string, opened: Outcome): MountNamespace {
	if (opened.error < 0) throw namespaceError(into, opened);
	return { descriptor: new Descriptor(opened.fd, "mount namespace"), root: undefined };
}

/** The pidfd holds the process: both belong to it, whatever becomes of its number. */
function openOfProcess(pid: number): MountNamespace {
	const process = native().openProcess(pid);
	if (process.error < 0) throw namespaceError(pid, process);
	try {
		const root = native().rootOf(process.fd);
		if (root.error < 0) throw namespaceError(pid, root);
		const opened = native().mountNamespaceOf(process.fd);
		if (opened.error < 0) {
			native().close(root.fd);
			throw namespaceError(pid, opened);
		}
		return {
			descriptor: new Descriptor(opened.fd, "mount namespace"),
			root: new Descriptor(root.fd, "root directory"),
		};
	} finally {
		native().close(process.fd);
	}
}

function namespaceError(into: number | string, outcome: Outcome): UsernsError {
	const tried = `cannot open the mount namespace ${typeof into === "number" ? `of process ${into}` : `at ${JSON.stringify(into)}`}`;
	if (outcome.error === ERRNO.EMEDIUMTYPE) {
		return new UsernsError("ERR_USERNS_MOUNT_NAMESPACE", `${tried}: it is something else`, {
			hint: "Name a file such as /proc/PID/ns/mnt, or a pid.",
			step: "opening the path",
		});
	}
	return kernelError("ERR_USERNS_MOUNT_NAMESPACE", tried, outcome, { hint: hints[outcome.error] });
}

const hints: Record<number, string> = {
	[ERRNO.EACCES]: "Looking into another's process needs its uid, or CAP_SYS_PTRACE in its user namespace.",
	[ERRNO.EPERM]: "Looking into another's process needs its uid, or CAP_SYS_PTRACE in its user namespace.",
	[ERRNO.ESRCH]: "The process has ended, or is not in this pid namespace.",
	[ERRNO.ENOENT]: "Nothing is there: the process has ended, or the path has a mistake.",
	[ERRNO.EINVAL]: "That number is a thread, not a process: give the pid of its process.",
	[ERRNO.ETIMEDOUT]:
		"A file system on the path did not answer within ten seconds: look at the FUSE or network file systems on it.",
};
