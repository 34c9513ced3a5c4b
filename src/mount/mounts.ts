import { invalidArgument, show } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { CLONE_NEW, native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { PROCESS_HINTS } from "../native/lookup.ts";
import { kernelError } from "../native/steps.ts";
import { copyOptions } from "../options.ts";
import { checkBooleans } from "./attributes.ts";
import { isIdmapped, type MountEntry, openTable, readTable, readTableLater } from "./mountinfo.ts";
import { listMounts, mappingOf, NOT_ON_THIS_KERNEL, statMount } from "./statmount.ts";

/** A mount of a mount namespace. */
export interface MountInfo {
	/** The mount ID, as in the first column of /proc/PID/mountinfo. */
	mountId: number;
	/** The mount ID of the parent mount. */
	parentId: number;
	/** The path of the mount point, from the root directory of the process. */
	mountPoint: string;
	/** The directory of the file system that is the root of the mount. */
	root: string;
	/** The type of the file system. */
	fsType: string;
	/** The source, in the words of the file system. */
	source: string;
	/** The mount options, such as `ro`, `nosuid` and `idmapped`. */
	options: readonly string[];
	/** Whether the mount is ID-mapped. */
	idmapped: boolean;
	/** The map, disk to visible, in the IDs of the caller's user namespace. Undefined for a mount without a map and if it is not known. */
	mapping: Mapping | undefined;
	/** For an ID-mapped mount without `mapping`: why the map is not known. */
	unknown?: string;
}

/** Options of {@link mounts}. */
export interface MountsOptions {
	/** Returns the ID-mapped mounts only (default false). */
	idmapped?: boolean | undefined;
	/** The pid of a process in the mount namespace (default: this process). */
	pid?: number | undefined;
}

/**
 * The mounts of a process's mount namespace, in the order of its mountinfo, with the maps of the ID-mapped mounts from
 * statmount(2), Linux 6.15. On an older kernel `unknown` is set instead of the map. Throws `ERR_USERNS_READ_MOUNTS`, also for a
 * table of more than 32 MiB and for one that the kernel does not write within 3 seconds. It blocks the calling thread: use
 * {@link mountsAsync} for the mounts of a process that is not trusted.
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
/** The milliseconds that mountsAsync() works before it lets the event loop run. */
const TURN_MS = 2;

/** The names, complete by their type. */
const OPTIONS = Object.keys({ idmapped: true, pid: true } satisfies Record<keyof MountsOptions, true>);

function checkMountsOptions(
	what: string,
	options: MountsOptions | undefined,
): { idmapped: boolean; target: number | undefined } {
	const copy = copyOptions<MountsOptions>(what, options, OPTIONS);
	checkBooleans(what, copy, ["idmapped"]);
	const { pid, idmapped = false } = copy;
	if (pid !== undefined && (!Number.isInteger(pid) || pid < 1 || pid > 0x7fffffff)) {
		throw invalidArgument(`${what}: a pid must be a whole number from 1 to 2147483647, not ${show(pid)}`);
	}
	return { idmapped, target: pid };
}

const GONE = "map unknown: the mount changed during the call";

function describe(entry: MountEntry, map: Mapping | string | undefined): MountInfo {
	const { id, parent, mountPoint, root, fsType, source, options } = entry;
	const idmapped = isIdmapped(entry);
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
	/** Called after the read. Returns the mount namespace ID for statmount(2), 0 for that of this process; or a negative errno. */
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
			throw readError(tried, { error: ERRNO.EAGAIN, step: "process namespace" });
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
	const opened = native().namespaceOf(pidfd, CLONE_NEW.mount);
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
	return kernelError(CODE, tried, outcome, { hint: PROCESS_HINTS[outcome.error] });
}

/** Describes the mounts. It yields between two of them, so that the caller can let the event loop run. */
function* describeAll(
	entries: readonly MountEntry[],
	namespace: bigint | number,
	idmapped: boolean,
): Generator<undefined, MountInfo[]> {
	const selected: MountEntry[] = [];
	let mapped = false;
	for (const entry of entries) {
		yield;
		const isMapped = isIdmapped(entry);
		mapped ||= isMapped;
		if (isMapped || !idmapped) selected.push(entry);
	}
	const maps = mapped ? yield* readMaps(namespace) : new Map<number, Mapping | string>();
	const all: MountInfo[] = [];
	for (const entry of selected) {
		yield;
		all.push(describe(entry, typeof maps === "string" ? maps : maps.get(entry.id)));
	}
	return all;
}

/** The map of each ID-mapped mount, by its mount ID; or a text if no map can be read, with the reason. */
export function* readMaps(
	namespace: bigint | number,
): Generator<undefined, Map<number, Mapping | string> | string> {
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
		return "map unknown: reading it needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace";
	}
	return NOT_ON_THIS_KERNEL;
}
