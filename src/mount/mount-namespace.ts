import { UsernsError } from "../errors.ts";
import { Mapping } from "../mapping/mapping.ts";
import { ownIdentity } from "../namespace/caller-map.ts";
import { completeMaps, type NamespaceMaps } from "../namespace/read-maps.ts";
import { adoptNamespace, UserNamespace } from "../namespace/user-namespace.ts";
import { CLONE_NEW, native, type Outcome } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { linkOwner, namespaceError, showNamespace } from "../native/lookup.ts";

/** A mount namespace other than that of this process, and the directory at which paths in it start. */
export interface MountNamespace {
	descriptor: Descriptor;
	/** The root directory of the process whose pid was given; undefined: the root of the namespace. */
	root: Descriptor | undefined;
}

export function closeMountNamespace(namespace: MountNamespace | undefined): void {
	namespace?.root?.close();
	namespace?.descriptor.close();
}

export function duplicateMountNamespace({ descriptor, root }: MountNamespace): MountNamespace {
	const copy = descriptor.dup();
	try {
		return { descriptor: copy, root: root?.dup() };
	} catch (error) {
		copy.close();
		throw error;
	}
}

/** The option that names a mount namespace, for messages. */
type OptionName = "into" | "from";

/** Opens the mount namespace of a process or at a path. Throws `ERR_USERNS_MOUNT_NAMESPACE` for that of this process. */
export function openMountNamespace(into: number | string): MountNamespace {
	if (typeof into === "number") return openOfProcess(into);
	return adopt(into, native().openNamespace(into, CLONE_NEW.mount, linkOwner(), false));
}

/** Like `openMountNamespace`, but looks the path up on another thread with a time limit. */
export async function openMountNamespaceAsync(
	into: number | string,
	option: OptionName = "into",
): Promise<MountNamespace> {
	if (typeof into === "number") return openOfProcess(into, option);
	return adopt(into, await native().openNamespace(into, CLONE_NEW.mount, linkOwner(), true), option);
}

/**
 * A mount namespace and the user namespace of the process that was given, or for a path the one that owns the mount namespace. An
 * outcome instead if that cannot be opened, because only some mounts need it.
 */
export interface Container {
	mountNamespace: MountNamespace;
	userns: UserNamespace | Pick<Outcome, "error" | "step">;
}

/** Opens a mount namespace with its user namespace. The caller closes both. */
export async function openContainer(into: number | string, option: OptionName): Promise<Container> {
	if (typeof into === "string") {
		const mountNamespace = await openMountNamespaceAsync(into, option);
		try {
			return { mountNamespace, userns: ownerOfMounts(mountNamespace) };
		} catch (error) {
			closeMountNamespace(mountNamespace);
			throw error;
		}
	}
	let userns: Container["userns"] = { error: 0 };
	const mountNamespace = openOfProcess(into, option, (pidfd) => {
		userns = userNamespaceOf(pidfd);
	});
	return { mountNamespace, userns };
}

/** Opens the user namespace whose root may mount in a mount namespace. */
export function ownerOfMounts({ descriptor }: MountNamespace): Container["userns"] {
	const owner = native().ownerNamespace(descriptor.fd);
	return owner.error < 0 ? owner : adoptOfContainer(owner.fd, undefined);
}

export function closeContainer(container: Container | undefined): void {
	if (container?.userns instanceof UserNamespace) container.userns.close();
	closeMountNamespace(container?.mountNamespace);
}

const WHAT = "user namespace of the container";

function userNamespaceOf(pidfd: number): Container["userns"] {
	const opened = native().userNamespaceOf(pidfd);
	if (!Array.isArray(opened)) return opened;
	const [fd, maps] = opened;
	return fd < 0 ? { error: fd, step: "own" } : adoptOfContainer(fd, completeMaps(maps));
}

/**
 * For the user namespace of this process, the kernel shows the map to its parent (uid_m_show() in kernel/user_namespace.c), and for any
 * other one that to this process.
 */
function adoptOfContainer(fd: number, maps: NamespaceMaps | undefined): UserNamespace {
	const descriptor = new Descriptor(fd, WHAT);
	try {
		if (!isOwn(WHAT, fd, CLONE_NEW.user)) return adoptNamespace(descriptor, maps);
		const { uid, gid } = ownIdentity();
		const mapping = Mapping.from({ uidMappings: uid, gidMappings: gid });
		return adoptNamespace(descriptor, { mapping, setgroups: "deny" });
	} catch (error) {
		descriptor.close();
		throw error;
	}
}

function adopt(into: string, opened: Outcome, option: OptionName = "into"): MountNamespace {
	if (opened.error < 0) throw openError(into, opened);
	const descriptor = new Descriptor(opened.fd, "mount namespace");
	try {
		refuseOwn(into, opened.fd, option);
		return { descriptor, root: undefined };
	} catch (error) {
		descriptor.close();
		throw error;
	}
}

/** Opens all of it by a pidfd, so that it belongs to one process even if its pid is reused. `also` opens more. */
function openOfProcess(
	pid: number,
	option: OptionName = "into",
	also?: (pidfd: number) => void,
): MountNamespace {
	const process = native().openProcess(pid);
	if (process.error < 0) throw openError(pid, process);
	let descriptor: Descriptor | undefined;
	let root: Descriptor | undefined;
	try {
		const opened = native().namespaceOf(process.fd, CLONE_NEW.mount);
		if (opened.error < 0) throw openError(pid, opened);
		descriptor = new Descriptor(opened.fd, "mount namespace");
		refuseOwn(pid, opened.fd, option);
		// Opened last: until the process has its own mount namespace, its root directory is the host's.
		const directory = native().rootOf(process.fd);
		if (directory.error < 0) throw openError(pid, directory);
		root = new Descriptor(directory.fd, "root directory");
		also?.(process.fd);
		return { descriptor, root };
	} catch (error) {
		root?.close();
		descriptor?.close();
		throw error;
	} finally {
		native().close(process.fd);
	}
}

/**
 * Throws for the mount namespace of this process. A child that was just started with `{ unshare: ["mount"] }` is still in it,
 * and a mount would be attached on the host. Compares open descriptors, because the inode number of an open namespace is not
 * reused.
 */
function refuseOwn(into: number | string, fd: number, option: OptionName): void {
	if (!isOwn(into, fd, CLONE_NEW.mount)) return;
	throw new UsernsError(
		"ERR_USERNS_MOUNT_NAMESPACE",
		`${triedToOpen(into)}: it is the mount namespace of this process`,
		{
			hint: `Leave ${option} out for this namespace. A process that was just started can still be in it: wait for the first output of its program.`,
			step: "comparing the mount namespaces",
		},
	);
}

/** Whether a namespace is that of this process. */
function isOwn(named: number | string, fd: number, kind: number): boolean {
	const own = openOwn(kind);
	try {
		return inodeOf(named, own) === inodeOf(named, fd);
	} finally {
		native().close(own);
	}
}

/** Opens by a pidfd, because /proc may belong to another pid namespace. */
function openOwn(kind: number): number {
	const self = native().openProcess(process.pid);
	if (self.error < 0) throw openError(process.pid, self);
	try {
		const opened = native().namespaceOf(self.fd, kind);
		if (opened.error < 0) throw openError(process.pid, opened);
		return opened.fd;
	} finally {
		native().close(self.fd);
	}
}

/** Compares inode numbers alone, because all namespaces are files of one file system. */
function inodeOf(into: number | string, fd: number): bigint {
	const identity = native().identify(fd);
	if (typeof identity === "number") throw openError(into, { error: identity, step: "identify" });
	return identity[1];
}

function triedToOpen(into: number | string): string {
	return `cannot open the mount namespace ${showNamespace(into)}`;
}

const CODES = { failed: "ERR_USERNS_MOUNT_NAMESPACE", other: "ERR_USERNS_MOUNT_NAMESPACE" } as const;

function openError(into: number | string, outcome: Pick<Outcome, "error" | "step" | "name">): UsernsError {
	return namespaceError(CODES, triedToOpen(into), "mnt", outcome);
}
