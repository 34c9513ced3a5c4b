import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Explanation, Mapping, mountIdmapped, UserNamespace } from "../../src/index.ts";
import { root, sh } from "./child.ts";

/*
 * File systems, mounts and user namespaces in which explain() is compared with processes. A place is a mount of a file system; its
 * `raw` path shows the same files to root without a map.
 */

export interface Place {
	name: string;
	/** For the process. */
	path: string;
	/** For root of the host. */
	raw: string;
	/** Of the mount. */
	mapping: Mapping | undefined;
}

/** A user namespace, by a process in it. */
export interface Room {
	name: string;
	/** Undefined: the user namespace of the test. */
	pid: number | undefined;
	/** CLONE_NEW… of the namespaces of the process that differ. */
	join: number;
	/** Undefined: every ID. */
	mapping: Mapping | undefined;
}

export interface Subject {
	uid: number;
	gid: number;
	groups: number[];
}

/** In the order in which attempt.c prints them. */
export const OPERATIONS = ["read", "write", "execute", "create", "chown", "delete"] as const;
export type Outcomes = Record<(typeof OPERATIONS)[number], string>;

/** What a process got. */
export interface Attempt {
	outcomes: Outcomes;
	/** What stat(2) returns in the namespace; undefined if the file cannot be reached there. */
	owner: { uid: number; gid: number } | undefined;
}

const NEW_USER = 0x10000000;
const NEW_MOUNT = 0x00020000;

/** The names of errnos, and "ok" for 0, as the kernel's headers have them. */
const ERRNOS = new Map<number, string>([
	[0, "ok"],
	[1, "EPERM"],
	[2, "ENOENT"],
	[6, "ENXIO"],
	[13, "EACCES"],
	[16, "EBUSY"],
	[20, "ENOTDIR"],
	[21, "EISDIR"],
	[22, "EINVAL"],
	[26, "ETXTBSY"],
	[30, "EROFS"],
	[39, "ENOTEMPTY"],
	[75, "EOVERFLOW"],
]);

export class World {
	readonly folder: string;
	readonly places: Map<string, Place> = new Map();
	readonly rooms: Map<string, Room> = new Map([
		["host", { name: "host", pid: undefined, join: 0, mapping: undefined }],
	]);
	readonly #children: ChildProcess[] = [];
	readonly #attempt: string;

	constructor(folder: string) {
		this.folder = folder;
		chmodSync(folder, 0o755);
		this.#attempt = join(folder, "attempt");
		sh("cc", "-O1", "-D_GNU_SOURCE", "-o", this.#attempt, join(root, "test/support/programs/attempt.c"));
	}

	/** A fresh file system with the mounts that `maps` names, each also read-only and with nosuid, nodev, noexec. */
	async addFileSystem(type: string, maps: Record<string, string>): Promise<void> {
		const raw = join(this.folder, type);
		mkdirSync(raw);
		if (type === "tmpfs") sh("mount", "-t", "tmpfs", "userns-test", raw);
		else if (type === "overlay") this.#mountOverlay(raw);
		else {
			const image = join(this.folder, `${type}.image`);
			writeFileSync(image, "");
			sh("truncate", "-s", type === "ext4" ? "64M" : "512M", image);
			sh(`mkfs.${type}`, "-q", image);
			sh("mount", "-t", type, "-o", "loop", image, raw);
		}
		chmodSync(raw, 0o755);
		this.#place(`${type} P`, raw, raw);
		const bind = (name: string, options: string) => {
			const path = this.#folder(`${type} ${name}`);
			sh("mount", "--bind", raw, path);
			sh("mount", "-o", `remount,bind,${options}`, path);
			this.#place(`${type} ${name}`, path, raw);
		};
		bind("P-ro", "ro");
		bind("P-no", "nosuid,nodev,noexec");
		for (const [name, mapping] of Object.entries(maps)) {
			for (const [suffix, options] of [
				["", {}],
				["-ro", { readonly: true }],
				["-no", { nosuid: true, nodev: true, noexec: true }],
			] as const) {
				const target = this.#folder(`${type} ${name}${suffix}`);
				(await mountIdmapped({ source: raw, target, mapping, ...options })).close();
				this.#place(`${type} ${name}${suffix}`, target, raw, mapping);
			}
		}
	}

	#mountOverlay(raw: string): void {
		const [lower, upper, work] = ["lower", "upper", "work"].map((name) => this.#folder(`overlay ${name}`));
		sh(
			"mount",
			"-t",
			"overlay",
			"-o",
			`lowerdir=${lower},upperdir=${upper},workdir=${work}`,
			"userns-test",
			raw,
		);
	}

	#folder(name: string): string {
		const path = join(this.folder, name.replaceAll(" ", "-"));
		mkdirSync(path);
		return path;
	}

	#place(name: string, path: string, raw: string, mapping?: string): void {
		const map = mapping === undefined ? undefined : Mapping.from(mapping);
		this.places.set(name, { name, path, raw, mapping: map });
	}

	/** A process that waits in a new user namespace, in the mount namespace of the test. */
	async addRoom(name: string, mapping: string): Promise<void> {
		const namespace = await UserNamespace.create(mapping, { setgroups: "allow" });
		try {
			await this.#add(name, namespace.spawn("sh", ["-c", WAIT], { stdio: PIPE }), NEW_USER);
		} finally {
			namespace.close();
		}
	}

	/** A user namespace in that of a room. The maps are lines of uid_map. */
	async addNestedRoom(name: string, outer: string, map: string): Promise<void> {
		const { pid = 0 } = this.rooms.get(outer) as Room;
		const outside = UserNamespace.open(pid);
		const script = `exec 3<&0; unshare --user cat <&3 & p=$!
until [ "$(readlink /proc/$p/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do :; done
echo '${map}' >/proc/$p/uid_map; echo '${map}' >/proc/$p/gid_map; exec 3<&-; echo "ready $p"; wait`;
		const child = outside.spawn("sh", ["-c", script], { stdio: PIPE });
		outside.close();
		const inner = Number((await this.#ready(child)).split(" ")[1]);
		await this.#keep(name, inner, NEW_USER);
	}

	/**
	 * A tmpfs that a process in a room's user namespace has mounted, in its own mount namespace; and processes of other user
	 * namespaces in that mount namespace. The rooms are named `NAME@OUTER`.
	 */
	async addForeign(outer: string, others: readonly string[]): Promise<void> {
		const { pid = 0 } = this.rooms.get(outer) as Room;
		const namespace = UserNamespace.open(pid);
		const mount = join(this.folder, "foreign");
		mkdirSync(mount, { mode: 0o777 });
		chmodSync(mount, 0o777);
		const script = `mount -t tmpfs -o mode=755 t "${mount}" && ${WAIT}`;
		const child = namespace.spawn("sh", ["-c", script], { unshare: ["mount"], stdio: PIPE });
		namespace.close();
		await this.#add(`${outer}@${outer}`, child, NEW_USER | NEW_MOUNT);
		this.#place("foreign", mount, `/proc/${child.pid}/root${mount}`);
		for (const other of others) {
			const user = this.rooms.get(other) as Room;
			const args = [
				`--mount=/proc/${child.pid}/ns/mnt`,
				...(user.pid ? [`--user=/proc/${user.pid}/ns/user`] : []),
			];
			const process = spawn("nsenter", [...args, "--preserve-credentials", "sh", "-c", WAIT], {
				stdio: PIPE,
			});
			await this.#add(`${other}@${outer}`, process, NEW_MOUNT | (user.pid ? NEW_USER : 0));
		}
	}

	async #add(name: string, child: ChildProcess, join: number): Promise<void> {
		await this.#ready(child);
		await this.#keep(name, child.pid as number, join);
	}

	async #keep(name: string, pid: number, join: number): Promise<void> {
		const namespace = UserNamespace.open(pid);
		this.rooms.set(name, { name, pid, join, mapping: await namespace.mapping() });
		namespace.close();
	}

	async #ready(child: ChildProcess): Promise<string> {
		this.#children.push(child);
		const closed = once(child, "close").then(() => ["the process ended"]);
		const [said] = await Promise.race([
			once(child.stdout as NonNullable<ChildProcess["stdout"]>, "data"),
			closed,
		]);
		if (!`${said}`.startsWith("ready")) throw new Error(`${said}`);
		return `${said}`;
	}

	/** What a process with the IDs gets. */
	attempt(room: Room, subject: Subject, path: string, raw: string, to: Subject = subject): Attempt {
		const { uid, gid, groups } = subject;
		const args = [room.pid ?? 0, room.join, uid, gid, groups.join(","), 1, path, raw, to.uid, to.gid].map(
			String,
		);
		const { status, stdout, stderr } = spawnSync(this.#attempt, args, { encoding: "utf8", cwd: "/" });
		const codes = stdout.trim().split(" ").map(Number);
		if (status !== 0 || codes.length !== OPERATIONS.length + 2 || codes.includes(99)) {
			throw new Error(`attempt ${args.join(" ")}: ${status} ${stdout} ${stderr}`);
		}
		const outcomes = Object.fromEntries(
			OPERATIONS.map((name, i) => [name, ERRNOS.get(codes[i + 2] as number) ?? `errno ${codes[i + 2]}`]),
		) as Outcomes;
		const [seenUid = -1, seenGid = -1] = codes;
		return { outcomes, owner: seenUid < 0 ? undefined : { uid: seenUid, gid: seenGid } };
	}

	async end(): Promise<void> {
		for (const child of this.#children) {
			const closed = child.exitCode ?? child.signalCode ?? once(child, "close");
			child.kill("SIGKILL");
			await closed;
		}
	}
}

const PIPE: ["pipe", "pipe", "inherit"] = ["pipe", "pipe", "inherit"];
/** Ends with its standard input, which is the test's. */
const WAIT = "echo ready; exec cat";

/** The verdicts in the form of {@link Outcomes}. */
export function verdicts({ access }: Explanation): Outcomes {
	return Object.fromEntries(
		OPERATIONS.map((name) => {
			const { allowed, errno = "?" } = access?.[name] ?? { allowed: null };
			return [name, allowed === null ? "unknown" : allowed ? "ok" : errno];
		}),
	) as Outcomes;
}

export interface FileOptions {
	kind: "file" | "directory" | "fifo" | "device";
	uid: number;
	gid: number;
	mode: number;
	acl?: string;
	/** A flag of chattr(1). */
	flag?: "i" | "a";
}

const MAKE: Record<FileOptions["kind"], readonly string[]> = {
	directory: ["mkdir"],
	file: ["sh", "-c", 'echo no program >"$0"'],
	fifo: ["mkfifo"],
	device: ["mknod", "-m", "600"],
};

/**
 * Makes an empty file or directory. On a file system of a user namespace, only IDs that the namespace maps can make files: `as` is the
 * pid of such a process.
 */
export function makeFile(path: string, kind: FileOptions["kind"], as?: number): void {
	const device = kind === "device" ? ["c", "1", "3"] : [];
	if (as !== undefined)
		sh("nsenter", `--target=${as}`, "--user", "--mount", "--setuid=0", "--setgid=0", ...MAKE[kind], path);
	else if (kind === "directory") mkdirSync(path);
	else if (kind === "file") writeFileSync(path, "no program\n");
	else sh(...(MAKE[kind] as [string]), path, ...device);
}

/** Sets everything but the flag. */
export function setAttributes(path: string, { uid, gid, mode, acl }: FileOptions): void {
	chownSync(path, uid, gid);
	chmodSync(path, mode);
	if (acl !== undefined) sh("setfacl", "-m", acl, path);
}

export function setFlag(path: string, flag: string): void {
	sh("chattr", flag, path);
}

export function remove(path: string): void {
	rmSync(path, { recursive: true, force: true });
}
