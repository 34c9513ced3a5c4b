import { closeSync, openSync, statSync } from "node:fs";
import type { IdKind, IdMap } from "../mapping/extent.ts";
import { parseProcLines } from "../mapping/proc.ts";
import { DRY_CALLS, native } from "../native/addon.ts";
import { readText, STATUS, statusField } from "../native/process-status.ts";

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
	/** The inode number of a file; undefined if it cannot be read. */
	inode(file: string): number | undefined;
	/** Whether something other than the kernel answers the call (native/proc/dry-call.h). */
	dryCall(call: DryCall): boolean;
	/** Whether / is the root of a mount; undefined if that cannot be read. */
	isMountRoot(): boolean | undefined;
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

function inode(file: string): number | undefined {
	try {
		return statSync(file).ino;
	} catch {
		return undefined;
	}
}

function system(): Sources {
	return {
		read: readText,
		inode,
		dryCall: (call) => native().dryCall(DRY_CALLS.indexOf(call)) === 1,
		isMountRoot,
		euid: process.geteuid?.() ?? 0,
		egid: process.getegid?.() ?? 0,
	};
}

/**
 * What the calling thread is and may do, as /proc and calls without an effect show it. Each fact is undefined if it cannot be
 * read: an unknown fact is never a cause.
 */
export class Facts {
	readonly #sources: Sources;
	readonly #status: string | undefined;

	constructor(sources: Sources = system()) {
		this.#sources = sources;
		this.#status = sources.read(STATUS);
	}

	get euid(): number {
		return this.#sources.euid;
	}

	get isRoot(): boolean {
		return this.euid === 0;
	}

	read(file: string): string | undefined {
		return this.#sources.read(file);
	}

	/** Whether the set has the capability. */
	has(capability: Capability, set: CapabilitySet = "CapEff"): boolean | undefined {
		const mask = statusField(this.#status, set);
		return mask === undefined ? undefined : ((BigInt(`0x${mask}`) >> BITS[capability]) & 1n) === 1n;
	}

	/** Whether the user namespace of this process is the initial one. */
	get isInitial(): boolean | undefined {
		const number = this.#sources.inode("/proc/self/ns/user");
		return number === undefined ? undefined : number === INITIAL;
	}

	/** The effective ID of a kind and the map of the own user namespace, if the map lacks the ID. */
	unmapped(kind: IdKind): number | undefined {
		const text = this.read(`/proc/self/${kind}_map`);
		if (text === undefined) return undefined;
		const id = kind === "uid" ? this.#sources.euid : this.#sources.egid;
		const isIn = ({ containerID, size }: IdMap) => id >= containerID && id < containerID + size;
		return parseProcLines(kind, text).some(isIn) ? undefined : id;
	}

	/**
	 * Whether a seccomp filter refuses a call that has failed with EPERM. A filter that ends the process for the call would have
	 * done so then.
	 */
	isFiltered(call: DryCall): boolean {
		return statusField(this.#status, "Seccomp") !== "0" && this.#sources.dryCall(call);
	}

	/** Why the root directory of this process is not that of its mount namespace; undefined if no reason is found. */
	chroot(): string | undefined {
		if (this.#sources.isMountRoot() === false)
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
