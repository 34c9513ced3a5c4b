import { UsernsError } from "../errors.ts";
import { native, type Outcome } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { linkOwner, linkRefused } from "../native/lookup.ts";
import { kernelError } from "../native/steps.ts";

/** Another mount namespace, and where paths in it start. */
export interface MountNamespace {
	descriptor: Descriptor;
	/** The root directory of the process that it was opened by; undefined: the root of the namespace. */
	root: Descriptor | undefined;
}

/** Opens the mount namespace of a process, or the one that a path leads to. Throws for this process's own. */
export function openMountNamespace(into: number | string): MountNamespace {
	if (typeof into === "number") return openOfProcess(into);
	return adopt(into, native().openNamespace(into, CLONE_NEWNS, linkOwner(), false));
}

/** Like `openMountNamespace`, but looks the path up on another thread with a time limit. */
export async function openMountNamespaceAsync(into: number | string): Promise<MountNamespace> {
	if (typeof into === "number") return openOfProcess(into);
	return adopt(into, await native().openNamespace(into, CLONE_NEWNS, linkOwner(), true));
}

/** <linux/sched.h> */
const CLONE_NEWNS = 0x00020000;

function adopt(into: string, opened: Outcome): MountNamespace {
	if (opened.error < 0) throw namespaceError(into, opened);
	const descriptor = new Descriptor(opened.fd, "mount namespace");
	try {
		refuseOwn(into, opened.fd);
		return { descriptor, root: undefined };
	} catch (error) {
		descriptor.close();
		throw error;
	}
}

/** The pidfd holds the process: both belong to it, whatever becomes of its number. */
function openOfProcess(pid: number): MountNamespace {
	const process = native().openProcess(pid);
	if (process.error < 0) throw namespaceError(pid, process);
	let descriptor: Descriptor | undefined;
	try {
		const opened = native().mountNamespaceOf(process.fd);
		if (opened.error < 0) throw namespaceError(pid, opened);
		descriptor = new Descriptor(opened.fd, "mount namespace");
		refuseOwn(pid, opened.fd);
		// Opened last: until the process has its own mount namespace, its root directory is the host's.
		const root = native().rootOf(process.fd);
		if (root.error < 0) throw namespaceError(pid, root);
		return { descriptor, root: new Descriptor(root.fd, "root directory") };
	} catch (error) {
		descriptor?.close();
		throw error;
	} finally {
		native().close(process.fd);
	}
}

/**
 * Throws for this process's own mount namespace. A child that was just started with unshare: ["mount"] is still in it,
 * and a mount would land on the host. Compares the open descriptors, not paths, because the inode number of an open
 * namespace is not reused.
 */
function refuseOwn(into: number | string, fd: number): void {
	const own = openOwn();
	try {
		if (inodeOf(into, own) !== inodeOf(into, fd)) return;
	} finally {
		native().close(own);
	}
	throw new UsernsError(
		"ERR_USERNS_MOUNT_NAMESPACE",
		`${triedToOpen(into)}: it is the mount namespace of this process`,
		{
			hint: 'Leave into out to work in this namespace. A child with unshare: ["mount"] leaves it only after spawn returns: wait for the first output of its program.',
			step: "comparing the mount namespaces",
		},
	);
}

/** Opens by a pidfd, because /proc may belong to another pid namespace. */
function openOwn(): number {
	const self = native().openProcess(process.pid);
	if (self.error < 0) throw namespaceError(process.pid, self);
	try {
		const opened = native().mountNamespaceOf(self.fd);
		if (opened.error < 0) throw namespaceError(process.pid, opened);
		return opened.fd;
	} finally {
		native().close(self.fd);
	}
}

/** Compares inode numbers alone, because all namespaces are files of one file system. */
function inodeOf(into: number | string, fd: number): bigint {
	const identity = native().identify(fd);
	if (typeof identity === "number") throw namespaceError(into, { error: identity, step: "identify" });
	return identity[1];
}

function triedToOpen(into: number | string): string {
	return `cannot open the mount namespace ${typeof into === "number" ? `of process ${into}` : `at ${JSON.stringify(into)}`}`;
}

function namespaceError(
	into: number | string,
	outcome: Pick<Outcome, "error" | "step" | "name">,
): UsernsError {
	const tried = triedToOpen(into);
	const link = linkRefused(outcome.step ?? "", outcome.name ?? "");
	if (link !== undefined) {
		return kernelError("ERR_USERNS_MOUNT_NAMESPACE", `${tried}: ${link.words}`, outcome, { hint: link.hint });
	}
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
		"A file system on the path did not answer within ten seconds: check the FUSE and network file systems on it.",
};
