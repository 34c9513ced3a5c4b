import { isIdmapped, type MountEntry, readTableLater } from "../mount/mountinfo.ts";
import { readMaps } from "../mount/mounts.ts";
import { CLONE_NEW, native, WALK_END, WALK_LINKS } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { NO_OWNER } from "../native/lookup.ts";
import { inodeOf, type PinnedNamespace, type Scan } from "./scan.ts";

const CODE = "ERR_USERNS_READ_MOUNTS";
const TRIED = "cannot list the user namespaces";

/** An ID-mapped mount, with the `id` of its map. */
export interface MappedMount {
	pid: number;
	path: string;
	map: string;
}

/** What the mount tables of the machine show. */
export interface MountTables {
	/** The ID-mapped mounts whose maps are known. */
	mapped: MappedMount[];
	/** The mount namespaces whose tables could not be read. */
	unread: number;
	/** The mounts of user namespaces on files. */
	pinned: PinnedNamespace[];
	/** Whether a file system did not answer. */
	isSilent: boolean;
}

/** Reads the table of every mount namespace, and adds the user namespaces that are mounted on files to the scan. */
export async function scanMountTables(scan: Scan): Promise<MountTables> {
	const tables: MountTables = { mapped: [], unread: 0, pinned: [], isSilent: false };
	for (const pids of scan.mountNamespaces.values()) {
		let isRead = false;
		for (const pid of pids.slice(0, MOST_TRIES)) {
			isRead = await scanTable(scan, pid, tables);
			if (isRead) break;
		}
		if (!isRead) tables.unread++;
	}
	return tables;
}

/** The processes of a mount namespace that are tried, because a process can end meanwhile. */
const MOST_TRIES = 8;

async function scanTable(scan: Scan, pid: number, tables: MountTables): Promise<boolean> {
	const opened: number[] = [];
	const keep = ({ error, fd }: { error: number; fd: number }) => {
		if (error < 0) return -1;
		opened.push(fd);
		return fd;
	};
	try {
		const pidfd = keep(native().openProcess(pid));
		const mountNs = pidfd < 0 ? -1 : keep(native().namespaceOf(pidfd, CLONE_NEW.mount));
		if (mountNs < 0) return false;
		// From the root of the mount namespace, because a process in a chroot sees a part of it. That needs root.
		let table = keep(native().mountTable(mountNs));
		if (table < 0) table = keep(native().mountTableOf(pidfd));
		if (table < 0) return false;
		const name = `the mountinfo of process ${pid}`;
		const entries = await readTableLater(table, name, CODE, TRIED).catch(() => undefined);
		if (entries === undefined) return false;
		for (const entry of entries) {
			if (entry.fsType !== "nsfs") continue;
			const path = entry.mountPoint;
			const walk = (open: (own: string) => void) => openMounted(mountNs, path, tables, open);
			if (scan.lacksOwner(entry.root)) await walk((own) => scan.addOwner(entry.root, own));
			const inode = inodeOf(entry.root);
			if (inode === undefined) continue;
			tables.pinned.push({ mount: entry.id, pid, path, inode });
			if (!scan.found.has(inode)) await walk((own) => scan.openAt(own));
		}
		if (entries.some(isIdmapped)) await addMapped(scan, mountNs, pid, entries, tables);
		return true;
	} finally {
		for (const fd of opened) native().close(fd);
	}
}

/**
 * Opens a path in a child process with a time limit, because other users can put a FUSE file system on it. After the first path that does
 * not answer, no other path is opened, because each would take as long.
 */
async function openMounted(
	mountNs: number,
	path: string,
	tables: MountTables,
	open: (own: string) => void,
): Promise<void> {
	if (tables.isSilent) return;
	const { location } = WALK_END;
	const { error, fd } = await native().walk(
		location,
		WALK_LINKS.none,
		NO_OWNER,
		mountNs,
		-1,
		false,
		path,
		true,
	);
	if (error === ERRNO.ETIMEDOUT) tables.isSilent = true;
	if (error < 0) return;
	try {
		open(`/proc/self/fd/${fd}`);
	} finally {
		native().close(fd);
	}
}

async function addMapped(
	scan: Scan,
	mountNs: number,
	pid: number,
	entries: readonly MountEntry[],
	tables: MountTables,
): Promise<void> {
	const steps = readMaps(native().mountNamespaceId(mountNs));
	let step = steps.next();
	for (; !step.done; step = steps.next()) await scan.turn();
	if (typeof step.value === "string") return;
	for (const { id, mountPoint } of entries) {
		const map = step.value.get(id);
		if (typeof map === "object") tables.mapped.push({ pid, path: mountPoint, map: map.id });
	}
}
