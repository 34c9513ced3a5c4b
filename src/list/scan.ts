import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";
import type { Mapping } from "../mapping/mapping.ts";
import { parseMaps, readMaps } from "../namespace/read-maps.ts";
import { CLONE_NEW, native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError } from "../native/steps.ts";
import { refuseDenied } from "../permission.ts";

/** What keeps a user namespace in existence, besides the processes in it. */
export type NamespaceHolder =
	| { kind: "descriptor"; pid: number; fd: number }
	/** A file on which the namespace is mounted, in the mount namespace of that process. */
	| { kind: "mount"; pid: number; path: string }
	/** A namespace of another kind that it owns, which a descriptor or a mount holds: "net:[4026532000]". */
	| { kind: "namespace"; name: string }
	| { kind: "child"; inode: number };

/** A user namespace of the machine. */
export interface ListedNamespace {
	/** The inode number, as lsns(8) prints it. */
	inode: number;
	/** The namespace ID. Undefined before Linux 6.18. */
	id: bigint | undefined;
	/** The inode number of the parent; undefined for the initial namespace, and if the caller may not see the parent. */
	parentInode: number | undefined;
	/** The uid of the creator, in the caller's namespace. */
	ownerUid: number;
	/** The mapping in the IDs of the caller's user namespace; empty before the maps are written; undefined if it is not known. */
	mapping: Mapping | undefined;
	/** Without `mapping`: why it is not known. */
	unknown?: string;
	setgroups: "deny" | "allow" | undefined;
	/** The pids of the processes in the namespace, in ascending order. Zombies are among them, because they hold the namespace. */
	processes: number[];
	/** The other holders of the namespace. If this list and `processes` are empty, the holder is not known. */
	holders: NamespaceHolder[];
	/** The ID-mapped mounts that have the same map, in the mount namespace of that process. */
	mounts: { pid: number; path: string }[];
}

/** The other kinds, by the start of their names in /proc. */
const KINDS: ReadonlyMap<string, number> = new Map([
	...Object.entries(CLONE_NEW).filter(([kind]) => kind !== "user" && kind !== "mount"),
	["mnt", CLONE_NEW.mount],
]);

const LINK = /^user:\[(\d+)\]$/;

/** The inode in the name of a user namespace, such as "user:[4026531837]". */
export function inodeOf(name: string): number | undefined {
	const text = LINK.exec(name)?.[1];
	return text === undefined ? undefined : Number(text);
}

/** A user namespace that is mounted on a file, in the mount namespace of that process. */
export interface PinnedNamespace {
	/** The ID of the mount. */
	mount: number;
	pid: number;
	path: string;
	inode: number;
}

/** <fcntl.h>; node:fs does not have it. */
const O_PATH = 0o10000000;

/** The milliseconds after which the event loop runs. */
const TURN_MS = 2;

/**
 * The namespaces that were found. Each is held open until the end of the listing, because the kernel reuses an inode number as soon
 * as the namespace has ended. So a name that is read meanwhile belongs to the namespace that is open.
 */
export class Scan {
	readonly found: Map<number, ListedNamespace> = new Map();
	readonly mountNamespaces: Map<string, number[]> = new Map();
	/** The processes that the caller may not examine. */
	refused = 0;
	readonly #fds: Map<number, number> = new Map();
	readonly #own: Set<number> = new Set();
	readonly #owned: Set<string> = new Set();
	/** A descriptor of the caller that is closed after the listing and is therefore not a holder, as this scan's own; or −1. */
	readonly #other: number;
	#until: number = performance.now() + TURN_MS;

	constructor(other: number) {
		this.#other = other;
	}

	/** Whether the event loop has waited for long enough. */
	get isLate(): boolean {
		return performance.now() >= this.#until;
	}

	/** Lets the event loop run, if it is late. */
	async turn(): Promise<void> {
		if (!this.isLate) return;
		await new Promise((next) => setImmediate(next));
		this.#until = performance.now() + TURN_MS;
	}

	async processes(): Promise<void> {
		for (const pid of processIds()) {
			await this.#process(pid);
			await this.turn();
		}
	}

	async #process(pid: number): Promise<void> {
		const namespace = this.#called(read(`/proc/${pid}/ns/user`), () => this.#openOf(pid));
		if (namespace === undefined) return;
		if (lacksMaps(namespace)) this.#openOf(pid);
		namespace.processes.push(pid);
		const mounts = read(`/proc/${pid}/ns/mnt`);
		if (mounts !== undefined && mounts !== "EACCES") {
			const pids = this.mountNamespaces.get(mounts);
			if (pids === undefined) this.mountNamespaces.set(mounts, [pid]);
			else pids.push(pid);
		}
		for await (const { fd, path, link } of this.#descriptors(pid)) {
			if (!link.includes(":[") || link.startsWith("/")) continue;
			this.#called(link, () => this.openAt(path))?.holders.push({ kind: "descriptor", pid, fd });
			this.addOwner(link, path);
		}
	}

	/** The descriptors of a process, except those of this scan, with the files to which they lead. */
	async *#descriptors(pid: number): AsyncGenerator<{ fd: number; path: string; link: string }> {
		for (const text of namesIn(`/proc/${pid}/fd`)) {
			if (this.isLate) await this.turn(); // a process can have a million descriptors
			const fd = Number(text);
			if (pid === process.pid && (fd === this.#other || this.#own.has(fd))) continue;
			const path = `/proc/${pid}/fd/${text}`;
			const link = read(path);
			if (link !== undefined) yield { fd, path, link };
		}
	}

	/**
	 * Adds the descriptors that were opened at files on which namespaces are mounted: the name of such a file in /proc is its path. In a
	 * second pass, because the paths of all open files would need much memory, and few machines have such mounts.
	 */
	async openedAt(pinned: readonly PinnedNamespace[]): Promise<void> {
		const paths = new Set(pinned.map(({ path }) => path));
		const inodes = new Map(pinned.map(({ mount, inode }) => [BigInt(mount), inode]));
		if (paths.size === 0) return;
		for (const pid of processIds()) {
			for await (const { fd, path, link } of this.#descriptors(pid)) {
				if (paths.has(link)) this.#addOpened(inodes, { pid, fd, path });
			}
			await this.turn();
		}
	}

	/**
	 * Another file can have the same path in another mount namespace. A FUSE file system, which may not answer, is not asked; NFS and 9p
	 * can be, but only root of the host mounts them. The fdinfo is not read, because it has every lock of the process on the file.
	 */
	#addOpened(
		inodes: ReadonlyMap<bigint, number>,
		{ pid, fd, path }: { pid: number; fd: number; path: string },
	): void {
		let seen: number;
		try {
			seen = openSync(path, O_PATH);
		} catch (error) {
			refuseDenied(error, path);
			refuseFull((error as NodeJS.ErrnoException).errno ?? 0);
			return; // the process has closed it, or has ended
		}
		try {
			const ids = native().mountIds(seen);
			const inode = typeof ids === "number" ? undefined : inodes.get(ids[0]);
			if (inode === undefined) return;
			const namespace = this.found.get(inode) ?? this.openAt(`/proc/self/fd/${seen}`);
			namespace?.holders.push({ kind: "descriptor", pid, fd });
		} finally {
			closeSync(seen);
		}
	}

	/** The namespace of that name. `open` opens it if it is the first time. */
	#called(name: string | undefined, open: () => ListedNamespace | undefined): ListedNamespace | undefined {
		if (name === "EACCES") this.refused++;
		const inode = inodeOf(name ?? "");
		return inode === undefined ? undefined : (this.found.get(inode) ?? open());
	}

	/** A zombie has no maps in /proc, and cannot be opened by its pid. */
	#openOf(pid: number): ListedNamespace | undefined {
		const opened = native().openPid(pid);
		if (Array.isArray(opened)) return this.add(...opened);
		refuseFull(opened.error);
		return this.openAt(`/proc/${pid}/ns/user`);
	}

	/** The namespace at a path that leads to no file system of another user; undefined if it is none, or is gone. */
	openAt(path: string): ListedNamespace | undefined {
		return this.add(native().openPath(path, CLONE_NEW.user));
	}

	/** Whether the name is that of a namespace of another kind whose owner is not known yet. */
	lacksOwner(name: string): boolean {
		return KINDS.has(name.replace(/:\[\d+\]$/, "")) && !this.#owned.has(name);
	}

	/** Adds the user namespace that owns a namespace of another kind, and that it therefore holds. */
	addOwner(name: string, path: string): void {
		if (!this.lacksOwner(name)) return;
		const fd = native().openPath(path, KINDS.get(name.replace(/:.*/, "")) as number);
		refuseFull(fd);
		if (fd < 0) return;
		const owner = native().ownerNamespace(fd);
		native().close(fd);
		if (owner.error < 0) return; // it is not below the caller's namespace
		this.#owned.add(name);
		this.add(owner.fd)?.holders.push({ kind: "namespace", name });
	}

	/** Takes over a descriptor. A negative errno is no namespace. */
	add(fd: number, maps?: string): ListedNamespace | undefined {
		refuseFull(fd);
		if (fd < 0) return undefined;
		const identity = native().identify(fd);
		const inode = typeof identity === "number" ? -1 : Number(identity[1]);
		const known = this.found.get(inode);
		if (known !== undefined && maps !== undefined && lacksMaps(known)) setMaps(known, () => parseMaps(maps));
		if (typeof identity === "number" || known !== undefined) {
			native().close(fd);
			return known;
		}
		const namespace: ListedNamespace = {
			inode,
			id: identity[2] === 0n ? undefined : identity[2],
			parentInode: undefined,
			ownerUid: native().ownerUid(fd),
			mapping: undefined,
			setgroups: undefined,
			processes: [],
			holders: [],
			mounts: [],
		};
		this.#own.add(fd);
		this.#fds.set(inode, fd);
		this.found.set(inode, namespace);
		if (maps !== undefined) setMaps(namespace, () => parseMaps(maps));
		return namespace;
	}

	/** The parents of all namespaces, which the loop finds on its way. */
	async parents(): Promise<void> {
		for (const [inode, namespace] of this.found) {
			const { fd } = native().parent(this.#fds.get(inode) as number);
			const parent = fd < 0 ? undefined : this.add(fd);
			if (parent !== undefined) {
				namespace.parentInode = parent.inode;
				parent.holders.push({ kind: "child", inode });
			}
			await this.turn();
		}
	}

	/** Reads the maps of the namespaces without a process that has them. */
	async maps(): Promise<void> {
		const without = [...this.found.values()].filter(lacksMaps);
		const reads = without.map(async (namespace) => {
			try {
				const maps = await readMaps(this.#fds.get(namespace.inode) as number);
				setMaps(namespace, () => maps);
			} catch (error) {
				setMaps(namespace, () => {
					throw error;
				});
			}
		});
		await Promise.all(reads);
	}

	close(): void {
		for (const fd of this.#own) native().close(fd);
		this.#own.clear();
	}
}

/** Whether neither the maps nor the reason for their absence is known. */
function lacksMaps({ setgroups, unknown }: ListedNamespace): boolean {
	return (setgroups ?? unknown) === undefined;
}

function setMaps(namespace: ListedNamespace, maps: () => ReturnType<typeof parseMaps>): void {
	try {
		Object.assign(namespace, maps());
	} catch (error) {
		namespace.unknown = (error as Error).message;
	}
}

/** A descriptor for each namespace is needed. Without one, the listing would be wrong. */
function refuseFull(error: number): void {
	if (error !== ERRNO.EMFILE && error !== ERRNO.ENFILE) return;
	throw kernelError("ERR_USERNS_DESCRIPTOR", "cannot list the user namespaces", { error, step: "open" });
}

/** The text of a link in /proc; "EACCES" if the caller may not read it; undefined if the process is gone. */
function read(path: string): string | undefined {
	try {
		return readlinkSync(path);
	} catch (error) {
		refuseDenied(error, path);
		return (error as NodeJS.ErrnoException).code === "EACCES" ? "EACCES" : undefined;
	}
}

function namesIn(path: string): string[] {
	try {
		return readdirSync(path);
	} catch (error) {
		refuseDenied(error, path);
		return [];
	}
}

function processIds(): number[] {
	return namesIn("/proc")
		.filter((name) => /^\d+$/.test(name))
		.map(Number)
		.sort((a, b) => a - b);
}
