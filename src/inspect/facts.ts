import { closeSync, openSync, type Stats, statSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { findAllOwnPrograms, findProgram } from "../find-program.ts";
import type { IdKind, IdMap } from "../mapping/extent.ts";
import { parseProcLines } from "../mapping/proc.ts";
import { DRY_CALLS, native } from "../native/addon.ts";
import { sinceOf } from "../native/missing-call.ts";
import { hasMountOption, readText, STATUS, statusField } from "../native/process-status.ts";
import { findUser } from "../subid/users.ts";

/** A system call that can be tried without an effect. */
export type DryCall = (typeof DRY_CALLS)[number];

/** <linux/capability.h> */
const BITS = {
	CAP_SETGID: 6n,
	CAP_SETUID: 7n,
	CAP_SYS_CHROOT: 18n,
	CAP_SYS_PTRACE: 19n,
	CAP_SYS_ADMIN: 21n,
	CAP_SETFCAP: 31n,
} as const;
export type Capability = keyof typeof BITS;

/** The sets of capabilities that a cause depends on, by their names in the status file. */
export type CapabilitySet = "CapEff" | "CapPrm" | "CapBnd";

/** Where the facts come from. A test passes another one. */
export interface Sources {
	/** The text of a file without blanks at its ends; undefined if it cannot be read. */
	read(file: string): string | undefined;
	/** The status of a file; undefined if it cannot be read. */
	stat(file: string): Pick<Stats, "ino" | "mode" | "uid"> | undefined;
	/** Whether the file is on a mount with that option. */
	hasOption(file: string, option: string): boolean;
	/** The executable files of that name in the absolute directories of PATH, and in all its entries. */
	programs(name: string): string[];
	anywhere(name: string): string | undefined;
	/** The real gid of this process, and the gid of its user in the user database. Undefined if the database does not have the user. */
	gids(): { own: number | undefined; entry: number } | undefined;
	/** Whether something other than the kernel answers the call (native/child/dry-call.h). */
	dryCall(call: DryCall): boolean;
	/** Whether / is the root of a mount; undefined if that cannot be read. */
	isMountRoot(): boolean | undefined;
	/** The version of the kernel. */
	release: string;
	euid: number;
	egid: number;
}

/** PROC_USER_INIT_INO in include/linux/proc_ns.h: the inode number of the initial user namespace. */
const INITIAL = 0xeffffffd;

function isMountRoot(): boolean | undefined {
	try {
		const fd = openSync("/", "r");
		try {
			const ids = native().mountIds(fd);
			return typeof ids === "number" ? undefined : ids[2] === 1n;
		} finally {
			closeSync(fd);
		}
	} catch {
		return undefined;
	}
}

function stat(file: string): Stats | undefined {
	try {
		return statSync(file);
	} catch {
		return undefined;
	}
}

function gids(): ReturnType<Sources["gids"]> {
	try {
		return { own: process.getgid?.(), entry: findUser(process.getuid?.()).gid };
	} catch {
		return undefined;
	}
}

/**
 * What this machine answers. Throws on another platform than Linux. `isApart`: system calls are tried in a child, because they were not
 * made yet, and a filter can end the process for them.
 */
export function system(isApart = false): Sources {
	const { dryCall } = native();
	return {
		read: readText,
		stat,
		hasOption: hasMountOption,
		programs: findAllOwnPrograms,
		anywhere: (name) => findProgram(name)?.found,
		gids,
		dryCall: (call) => dryCall(DRY_CALLS.indexOf(call), isApart) === 1,
		isMountRoot,
		release: release(),
		euid: process.geteuid?.() ?? 0,
		egid: process.getegid?.() ?? 0,
	};
}

/**
 * What the calling thread is and may do, as /proc and calls without an effect show it. Each fact is undefined if it cannot be
 * read: an unknown fact is never a cause.
 */
export class Facts {
	readonly sources: Sources;
	readonly #status: string | undefined;
	readonly #tried: Map<DryCall, boolean> = new Map();

	constructor(sources: Sources = system()) {
		this.sources = sources;
		this.#status = sources.read(STATUS);
	}

	get euid(): number {
		return this.sources.euid;
	}

	get isRoot(): boolean {
		return this.euid === 0;
	}

	read(file: string): string | undefined {
		return this.sources.read(file);
	}

	/** Whether the set has the capability. */
	has(capability: Capability, set: CapabilitySet = "CapEff"): boolean | undefined {
		const mask = statusField(this.#status, set);
		return mask === undefined ? undefined : ((BigInt(`0x${mask}`) >> BITS[capability]) & 1n) === 1n;
	}

	/** Whether the user namespace of this process is the initial one. */
	get isInitial(): boolean | undefined {
		const number = this.sources.stat("/proc/self/ns/user")?.ino;
		return number === undefined ? undefined : number === INITIAL;
	}

	/** The effective ID of a kind and the map of the own user namespace, if the map lacks the ID. */
	unmapped(kind: IdKind): number | undefined {
		const text = this.read(`/proc/self/${kind}_map`);
		if (text === undefined) return undefined;
		const id = kind === "uid" ? this.sources.euid : this.sources.egid;
		const isIn = ({ containerID, size }: IdMap) => id >= containerID && id < containerID + size;
		return parseProcLines(kind, text).some(isIn) ? undefined : id;
	}

	/**
	 * Whether a seccomp filter refuses a call. Without `isApart` the call must have failed with EPERM: a filter that ends the process for
	 * it would have done so then.
	 */
	isFiltered(call: DryCall): boolean {
		// The kernel checks the power over the mount namespace first.
		if (call === "move_mount" && !(this.has("CAP_SYS_ADMIN") && this.isInitial)) return false;
		return this.hasFilter && this.since(call) === undefined && this.isAnswered(call);
	}

	/** Whether something other than the kernel answers the call. Tries it once, because a child for it takes time. */
	isAnswered(call: DryCall): boolean {
		const known = this.#tried.get(call);
		if (known !== undefined) return known;
		const answer = this.sources.dryCall(call);
		this.#tried.set(call, answer);
		return answer;
	}

	/** Whether a seccomp filter may be installed. */
	get hasFilter(): boolean {
		return statusField(this.#status, "Seccomp") !== "0";
	}

	get noNewPrivs(): boolean {
		return statusField(this.#status, "NoNewPrivs") === "1";
	}

	/** The version of Linux that has the call, if this kernel is older. */
	since(call: string): string | undefined {
		return sinceOf(call, this.sources.release);
	}

	/** The AppArmor profile that confines this process, such as "docker-default (enforce)". */
	get profile(): string | undefined {
		return /^.+ \([a-z]+\)$/.exec(this.#label)?.[0];
	}

	/** The SELinux context of this process, such as "system_u:system_r:container_t:s0". */
	get context(): string | undefined {
		return /^[^:\s]+(:[^:\s]+){2,}$/.exec(this.#label)?.[0];
	}

	/** What the security module of this kernel calls this process. SELinux without a policy calls every process "kernel". */
	get #label(): string {
		return this.read("/proc/thread-self/attr/current")?.replace(/\0$/, "") ?? "";
	}

	/** The soft limit of that name in /proc/self/limits; undefined if there is none. */
	limit(name: string): string | undefined {
		return new RegExp(`^Max ${name} +(\\d+)`, "m").exec(this.read("/proc/self/limits") ?? "")?.[1];
	}

	/** The limit on processes that is reached, if it can be read. */
	processLimit(): { text: string; isOwn: boolean } | undefined {
		// Version 2 has one tree, and version 1 one for each controller.
		const [, tree = "", group = ""] =
			/^\d+:(pids|):\/(.*)$/m.exec(this.read("/proc/self/cgroup") ?? "") ?? [];
		const folder = join("/sys/fs/cgroup", tree, group);
		const [most, now] = ["max", "current"].map((name) => this.read(join(folder, `pids.${name}`)));
		if (Number(now) >= Number(most)) return { text: `pids.max in ${folder} is ${most}`, isOwn: false };
		const soft = this.limit("processes");
		return soft === undefined ? undefined : { text: `RLIMIT_NPROC is ${soft}`, isOwn: true };
	}

	/** Why the root directory of this process is not that of its mount namespace; undefined if no reason is found. */
	chroot(): string | undefined {
		if (this.sources.isMountRoot() === false)
			return "the root directory of this process is a directory within a mount";
		const own = roots(this.read("/proc/self/mountinfo")).filter(({ point }) => point === "/");
		for (const pid of this.#ancestors()) {
			const all = roots(this.read(`/proc/${pid}/mountinfo`));
			const elsewhere = all.find(({ id, point }) => point !== "/" && own.some((root) => root.id === id));
			if (elsewhere !== undefined) {
				return `the root directory of this process is the mount that process ${pid} has at ${elsewhere.point}`;
			}
		}
		return undefined;
	}

	/** The pids of the ancestors of this process, which may be outside a chroot of it, and process 1 at the end. */
	#ancestors(): string[] {
		const pids: string[] = [];
		let pid = statusField(this.#status, "PPid");
		while (pid !== undefined && !["0", "1"].includes(pid) && pids.length < 100) {
			pids.push(pid);
			pid = statusField(this.read(`/proc/${pid}/status`), "PPid");
		}
		return [...pids, "1"];
	}
}

/** The mount IDs, which are unique on the machine, and mount points of a mountinfo; no mounts without a text. */
function roots(text = ""): { id: string; point: string }[] {
	return text.split("\n").flatMap((line) => {
		const [id, , , , point] = line.split(" ");
		return id === undefined || point === undefined ? [] : [{ id, point }];
	});
}
