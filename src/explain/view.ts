import { openByPid } from "../namespace/open.ts";
import { type NamespaceMaps, readMaps } from "../namespace/read-maps.ts";
import { CLONE_NEW, native, type Outcome } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { PROCESS_HINTS } from "../native/lookup.ts";
import { readText, statusField } from "../native/process-status.ts";
import { kernelError } from "../native/steps.ts";

/** The namespaces and the root directory of a process. */
export interface View {
	pid: number;
	/** Undefined: that of this process. */
	namespace: Descriptor | undefined;
	maps: NamespaceMaps | undefined;
	/** Undefined: that of this process. */
	mountNs: Descriptor | undefined;
	root: Descriptor;
	/** Whether a path leads this process elsewhere than the other one. */
	elsewhere: boolean;
	/** The capabilities that root has there: the bounding set of the process. */
	bounding: bigint;
}

export function closeView(view: View | undefined): void {
	view?.namespace?.close();
	view?.mountNs?.close();
	view?.root.close();
}

/**
 * Opens everything by one pidfd. The maps are read by the pid: they are those of the namespace that the pidfd leads to, or the call
 * fails.
 */
export async function openView(tried: string, pid: number): Promise<View> {
	const process = opened(tried, native().openProcess(pid), "process");
	const self = opened(tried, native().openProcess(globalThis.process.pid), "process");
	const held: Descriptor[] = [];
	const keep = (descriptor: Descriptor) => {
		held.push(descriptor);
		return descriptor;
	};
	try {
		const user = keep(namespaceOf(tried, process, CLONE_NEW.user));
		const mount = keep(namespaceOf(tried, process, CLONE_NEW.mount));
		const maps = isOwn(tried, self, user, CLONE_NEW.user) ? undefined : await mapsOf(tried, pid, user);
		const sameMounts = isOwn(tried, self, mount, CLONE_NEW.mount);
		// Opened after the namespaces: until the process has its own mount namespace, its root directory is the host's.
		const root = keep(opened(tried, native().rootOf(process.fd), "root directory"));
		const elsewhere = !sameMounts || !isOwnRoot(tried, self, root);
		const bounding = statusField(readText(`/proc/${pid}/status`), "CapBnd");
		// The process has not ended, so the pid was not reused while its files were read.
		namespaceOf(tried, process, CLONE_NEW.user).close();
		held.length = 0;
		if (maps === undefined) user.close();
		if (sameMounts) mount.close();
		return {
			pid,
			namespace: maps === undefined ? undefined : user,
			maps,
			mountNs: sameMounts ? undefined : mount,
			root,
			elsewhere,
			bounding: BigInt(`0x${bounding ?? "0"}`),
		};
	} finally {
		for (const descriptor of held) descriptor.close();
		process.close();
		self.close();
	}
}

function opened(tried: string, outcome: Outcome, what: string): Descriptor {
	if (outcome.error < 0) {
		throw kernelError("ERR_USERNS_EXPLAIN", tried, outcome, { hint: PROCESS_HINTS[outcome.error] });
	}
	return new Descriptor(outcome.fd, what);
}

function namespaceOf(tried: string, process: Descriptor, kind: number): Descriptor {
	return opened(tried, native().namespaceOf(process.fd, kind), "namespace");
}

function inode(tried: string, descriptor: Descriptor): bigint {
	const identity = native().identify(descriptor.fd);
	if (typeof identity !== "number") return identity[1];
	throw kernelError("ERR_USERNS_EXPLAIN", tried, { error: identity, step: "identify" });
}

/** Compares open namespaces, because the inode number of an open namespace is not reused. */
function isOwn(tried: string, self: Descriptor, namespace: Descriptor, kind: number): boolean {
	const own = namespaceOf(tried, self, kind);
	try {
		return inode(tried, own) === inode(tried, namespace);
	} finally {
		own.close();
	}
}

/** Compares mounts too, because another mount of the same directory can have other mounts below it. */
function isOwnRoot(tried: string, self: Descriptor, root: Descriptor): boolean {
	const own = opened(tried, native().rootOf(self.fd), "root directory");
	const place = ({ fd }: Descriptor) => String([native().identify(fd), native().mountIds(fd)]);
	try {
		return place(own) === place(root);
	} finally {
		own.close();
	}
}

async function mapsOf(tried: string, pid: number, user: Descriptor): Promise<NamespaceMaps> {
	const [descriptor, maps] = openByPid("explain", pid);
	try {
		if (inode(tried, descriptor) === inode(tried, user) && maps !== undefined) return maps;
		return await readMaps(user.fd);
	} finally {
		descriptor.close();
	}
}
