import { invalidArgument, show } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/load.ts";
import { ERRNO, kernelError } from "../native/steps.ts";
import { copyOptions } from "../options.ts";
import { checkBooleans } from "./attributes.ts";
import { type MountEntry, parseMountinfo, readMountinfo, readTable } from "./mountinfo.ts";
import { listMounts, mappingOf, NOT_ON_THIS_KERNEL, statMount } from "./statmount.ts";

/** A mount, as its process sees it. */
export interface MountInfo {
	/** As in the first column of /proc/PID/mountinfo. */
	mountId: number;
	parentId: number;
	/** Where it is, from the root directory of the process. */
	mountPoint: string;
	/** What of the file system it shows. */
	root: string;
	fsType: string;
	/** What was mounted, as the file system tells it. */
	source: string;
	/** Such as `ro`, `nosuid` and `idmapped`. */
	options: readonly string[];
	idmapped: boolean;
	/** The map, disk to visible, in the IDs of the caller. Undefined for a mount without one, and where it is not known. */
	mapping: Mapping | undefined;
	/** For an ID-mapped mount without `mapping`: why it is not known. */
	unknown?: string;
}

export interface MountsOptions {
	/** Only the ID-mapped ones (default false). */
	idmapped?: boolean | undefined;
	/** The process whose mount namespace is meant (default: this one). */
	pid?: number | undefined;
}

/**
 * The mounts of this or another process's mount namespace, in the order of its mountinfo, with the maps of the ID-mapped
 * ones: from listmount(2) and statmount(2), Linux 6.15 (6.11 for the former with a namespace of others). Before that the
 * mounts are told without their maps. Throws `ERR_USERNS_READ_MOUNTS`.
 */
export function mounts(options?: MountsOptions): MountInfo[] {
	const copy = copyOptions<MountsOptions>("mounts", options, ["idmapped", "pid"]);
	checkBooleans("mounts", copy, ["idmapped"]);
	const { pid, idmapped = false } = copy;
	if (pid !== undefined && (!Number.isInteger(pid) || pid < 1 || pid > 0x7fffffff)) {
		throw invalidArgument(`mounts: a pid must be a whole number from 1 to 2147483647, not ${show(pid)}`);
	}
	const { entries, namespace } = pid === undefined ? own() : of(pid);
	const wanted = idmapped ? entries.filter(isMapped) : entries;
	const maps = wanted.some(isMapped) ? readMaps(namespace) : new Map<number, Mapping | string>();
	return wanted.map((entry) => describe(entry, typeof maps === "string" ? maps : maps.get(entry.id)));
}

const GONE = "map unknown: the mount changed meanwhile";

function isMapped(entry: MountEntry): boolean {
	return entry.options.includes("idmapped");
}

function describe(entry: MountEntry, map: Mapping | string | undefined): MountInfo {
	const { id, parent, mountPoint, root, fsType, source, options } = entry;
	const idmapped = isMapped(entry);
	const base = { mountId: id, parentId: parent, mountPoint, root, fsType, source, options, idmapped };
	if (!idmapped) return { ...base, mapping: undefined };
	if (map === undefined) return { ...base, mapping: undefined, unknown: GONE };
	return typeof map === "string" ? { ...base, mapping: undefined, unknown: map } : { ...base, mapping: map };
}

interface Table {
	entries: MountEntry[];
	/** What statmount(2) knows the namespace by, 0 for one's own; or a negative errno. */
	namespace: bigint | number;
}

function own(): Table {
	return { entries: readMountinfo("ERR_USERNS_READ_MOUNTS", "cannot list the mounts"), namespace: 0n };
}

/** The pidfd holds the process: while it lives the number is its own, before and after the reading. */
function of(pid: number): Table {
	const tried = `cannot list the mounts of process ${pid}`;
	const process = native().openProcess(pid);
	if (process.error < 0) throw readError(tried, process);
	try {
		const before = namespaceOf(process.fd, tried);
		const entries = readEntries(process.fd, pid, tried);
		const after = namespaceOf(process.fd, tried);
		if (before.inode !== after.inode)
			throw readError(tried, { error: ERRNO.EAGAIN, step: "mount namespace" });
		return { entries, namespace: before.id };
	} finally {
		native().close(process.fd);
	}
}

/** By the pidfd: /proc may belong to another pid namespace, where the number is another process's. */
function readEntries(pidfd: number, pid: number, tried: string): MountEntry[] {
	const table = native().mountTableOf(pidfd);
	if (table.error < 0) throw readError(tried, table);
	try {
		const name = `the mountinfo of process ${pid}`;
		return parseMountinfo(readTable(table.fd, name, "ERR_USERNS_READ_MOUNTS", tried));
	} finally {
		native().close(table.fd);
	}
}

function namespaceOf(pidfd: number, tried: string): { id: bigint | number; inode: bigint } {
	const opened = native().mountNamespaceOf(pidfd);
	if (opened.error < 0) throw readError(tried, opened);
	try {
		const identity = native().identify(opened.fd);
		if (typeof identity === "number") throw readError(tried, { error: identity, step: "identify" });
		return { id: native().mountNamespaceId(opened.fd), inode: identity[1] };
	} finally {
		native().close(opened.fd);
	}
}

function readError(tried: string, outcome: { error: number; step?: string }): Error {
	return kernelError("ERR_USERNS_READ_MOUNTS", tried, outcome, {
		hint: {
			[ERRNO.ESRCH]: "The process has ended, or is not in this pid namespace.",
			[ERRNO.EACCES]:
				"Looking into another's process needs its uid, or CAP_SYS_PTRACE in its user namespace.",
			[ERRNO.EPERM]: "Looking into another's process needs its uid, or CAP_SYS_PTRACE in its user namespace.",
			[ERRNO.EAGAIN]: "The process moved to another mount namespace at that moment: try again.",
			[ERRNO.EINVAL]: "That number is a thread, not a process: give the pid of its process.",
		}[outcome.error],
	});
}

/** The map of every ID-mapped mount, by its number in mountinfo; or why none can be told. */
function readMaps(namespace: bigint | number): Map<number, Mapping | string> | string {
	const ids = typeof namespace === "number" ? namespace : listMounts(namespace);
	if (typeof ids === "number" || typeof namespace === "number") return refusal(ids as number);
	const maps = new Map<number, Mapping | string>();
	for (const id of ids) {
		const mount = statMount(id, namespace);
		if (mount === ERRNO.ENOENT) continue; // it went meanwhile
		if (typeof mount === "number") return refusal(mount);
		if (mount.idmapped) maps.set(mount.id, mappingOf(mount));
	}
	return maps;
}

function refusal(error: number): string {
	if (error === ERRNO.EPERM || error === ERRNO.EACCES) {
		return "map unknown: asking needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace";
	}
	return NOT_ON_THIS_KERNEL;
}
