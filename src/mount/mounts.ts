import { invalidArgument, show } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError } from "../native/steps.ts";
import { copyOptions } from "../options.ts";
import { checkBooleans } from "./attributes.ts";
import { type MountEntry, openTable, readTable, readTableLater } from "./mountinfo.ts";
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
 * mounts are told without their maps. Throws `ERR_USERNS_READ_MOUNTS`, also for a table of more than 32 MiB and for one
 * that the kernel does not write within 3 seconds. It blocks the calling thread: use {@link mountsAsync} for the mounts
 * of a process that is not trusted.
 */
export function mounts(options?: MountsOptions): MountInfo[] {
	const { idmapped, target } = checkMountsOptions("mounts", options);
	const table = openTarget(target);
	let steps: ReturnType<typeof describeAll>;
	try {
		const entries = [...readTable(table.fd, table.name, CODE, table.tried)];
		steps = describeAll(entries, table.namespace(), idmapped);
	} finally {
		table.close();
	}
	for (;;) {
		const { done, value } = steps.next();
		if (done) return value;
	}
}

/**
 * Like {@link mounts}, but reads the table on another thread, within 10 seconds, and lets the event loop run while it
 * describes the mounts, because the programs in that namespace control how many there are.
 */
export async function mountsAsync(options?: MountsOptions): Promise<MountInfo[]> {
	const { idmapped, target } = checkMountsOptions("mountsAsync", options);
	const table = openTarget(target);
	let steps: ReturnType<typeof describeAll>;
	try {
		const entries = await readTableLater(table.fd, table.name, CODE, table.tried);
		steps = describeAll(entries, table.namespace(), idmapped);
	} finally {
		table.close();
	}
	for (let until = performance.now() + TURN_MS; ; ) {
		const { done, value } = steps.next();
		if (done) return value;
		if (performance.now() < until) continue;
		await new Promise((next) => setImmediate(next));
		until = performance.now() + TURN_MS;
	}
}

const CODE = "ERR_USERNS_READ_MOUNTS";
/** How long mountsAsync() works before it lets the event loop run. */
const TURN_MS = 2;

function checkMountsOptions(
	what: string,
	options: MountsOptions | undefined,
): { idmapped: boolean; target: number | undefined } {
	const copy = copyOptions<MountsOptions>(what, options, ["idmapped", "pid"]);
	checkBooleans(what, copy, ["idmapped"]);
	const { pid, idmapped = false } = copy;
	if (pid !== undefined && (!Number.isInteger(pid) || pid < 1 || pid > 0x7fffffff)) {
		throw invalidArgument(`${what}: a pid must be a whole number from 1 to 2147483647, not ${show(pid)}`);
	}
	return { idmapped, target: pid };
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

/** An open table of mounts. */
interface Table {
	fd: number;
	name: string;
	tried: string;
	/**
	 * Called after the read: the mount namespace ID for statmount(2), 0 for this process's own; or a negative errno.
	 */
	namespace: () => bigint | number;
	close: () => void;
}

function openTarget(pid: number | undefined): Table {
	return pid === undefined ? openOwn() : openOf(pid);
}

function openOwn(): Table {
	const tried = "cannot list the mounts";
	return { ...openTable(undefined, CODE, tried), tried, namespace: () => 0n };
}

/**
 * Opens the table by a pidfd, because /proc may belong to another pid namespace, where the pid is another process's.
 * The pidfd is checked before and after the read: while the process lives, its pid is not reused.
 */
function openOf(pid: number): Table {
	const tried = `cannot list the mounts of process ${pid}`;
	const process = native().openProcess(pid);
	if (process.error < 0) throw readError(tried, process);
	try {
		const before = namespaceOf(process.fd, tried);
		const table = native().mountTableOf(process.fd);
		if (table.error < 0) throw readError(tried, table);
		const namespace = () => {
			if (namespaceOf(process.fd, tried).inode === before.inode) return before.id;
			throw readError(tried, { error: ERRNO.EAGAIN, step: "mount namespace" });
		};
		const close = () => {
			native().close(table.fd);
			native().close(process.fd);
		};
		return { fd: table.fd, name: `the mountinfo of process ${pid}`, tried, namespace, close };
	} catch (error) {
		native().close(process.fd);
		throw error;
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

/** Describes the mounts; it yields so that the caller can stop between two of them. */
function* describeAll(
	entries: readonly MountEntry[],
	namespace: bigint | number,
	idmapped: boolean,
): Generator<undefined, MountInfo[]> {
	const wanted: MountEntry[] = [];
	let mapped = false;
	for (const entry of entries) {
		yield;
		const is = isMapped(entry);
		mapped ||= is;
		if (is || !idmapped) wanted.push(entry);
	}
	const maps = mapped ? yield* readMaps(namespace) : new Map<number, Mapping | string>();
	const all: MountInfo[] = [];
	for (const entry of wanted) {
		yield;
		all.push(describe(entry, typeof maps === "string" ? maps : maps.get(entry.id)));
	}
	return all;
}

/** The map of every ID-mapped mount, by its number in mountinfo; or why none can be told. */
function* readMaps(namespace: bigint | number): Generator<undefined, Map<number, Mapping | string> | string> {
	if (typeof namespace === "number") return refusal(namespace);
	const maps = new Map<number, Mapping | string>();
	for (const ids of listMounts(namespace)) {
		if (typeof ids === "number") return refusal(ids);
		for (const id of ids) {
			yield;
			const mount = statMount(id, namespace);
			if (mount === ERRNO.ENOENT) continue; // unmounted meanwhile
			if (typeof mount === "number") return refusal(mount);
			if (mount.idmapped) maps.set(mount.id, mappingOf(mount));
		}
	}
	return maps;
}

function refusal(error: number): string {
	if (error === ERRNO.EPERM || error === ERRNO.EACCES) {
		return "map unknown: asking needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace";
	}
	return NOT_ON_THIS_KERNEL;
}
