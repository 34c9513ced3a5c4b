import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { SLOWER } from "./slower.ts";

/** The worker pool's threads stay until the process ends: four for each of two copies (native/addon/worker-pool.c). */
const OWN_THREAD = "userns";
const OWN_THREADS = 2 * 4;

/** What a test can leave in this process and its mount namespace, from /proc and not from the package's own state. */
export interface Snapshot {
	descriptors: Map<string, string>;
	/** The process's thread IDs: Node's own from the start, or those of a worker that did not end. */
	threads: Set<string>;
	children: Set<string>;
	mounts: Map<string, string>;
}

export function snapshot(): Snapshot {
	const descriptors = new Map<string, string>();
	const threads = new Set<string>(readdirSync("/proc/self/task"));
	const children = new Set<string>();
	const mounts = new Map<string, string>();
	for (const fd of readdirSync("/proc/self/fd")) {
		try {
			descriptors.set(fd, readlinkSync(`/proc/self/fd/${fd}`));
		} catch {
			// The descriptor of the listing itself is closed already.
		}
	}
	for (const task of threads) {
		try {
			const list = readFileSync(`/proc/self/task/${task}/children`, "utf8");
			for (const child of list.split(" ")) if (child !== "") children.add(child);
		} catch {
			// The thread ended during the listing.
		}
	}
	for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
		const id = line.split(" ", 1)[0];
		if (id) mounts.set(id, line);
	}
	return { descriptors, threads, children, mounts };
}

/** What `after` has and `before` does not, as text; empty if nothing leaked. */
export function leaked(before: Snapshot, after: Snapshot): string[] {
	const found: string[] = [];
	for (const [fd, what] of after.descriptors) {
		if (before.descriptors.get(fd) !== what) found.push(`descriptor ${fd} → ${what}`);
	}
	const named = [...after.threads].map((thread) => ({ thread, name: nameOf(thread) }));
	const own = named.filter(({ name }) => name === OWN_THREAD).length;
	for (const { thread, name } of named) {
		if (before.threads.has(thread) || (name === OWN_THREAD && own <= OWN_THREADS)) continue;
		found.push(`thread ${thread} ${name}`);
	}
	for (const child of after.children) {
		if (!before.children.has(child)) found.push(`child process ${child} ${stateOf(child)}`);
	}
	for (const [id, line] of after.mounts) if (!before.mounts.has(id)) found.push(`mount ${line}`);
	return found;
}

/**
 * Waits until nothing is left against `before`, at most two seconds on a fast machine: Node closes the pipes of a child
 * and reaps the child only when its event loop turns.
 */
export async function remaining(before: Snapshot): Promise<string[]> {
	let found: string[] = [];
	for (let i = 0; i < 100 * SLOWER; i++) {
		found = leaked(before, snapshot());
		if (found.length === 0) return found;
		await sleep(20);
	}
	return found;
}

function nameOf(thread: string): string {
	try {
		return readFileSync(`/proc/self/task/${thread}/comm`, "utf8").trim();
	} catch {
		return "(gone)";
	}
}

function stateOf(pid: string): string {
	try {
		return /^State:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
	} catch {
		return "(gone)";
	}
}

/** How many pidfds this process has: those of children that the kernel blocks. */
export function pidfds(): number {
	const isOne = (fd: string) => {
		try {
			return readlinkSync(`/proc/self/fd/${fd}`).includes("pidfd");
		} catch {
			return false; // the descriptor of the folder itself
		}
	};
	return readdirSync("/proc/self/fd").filter(isOne).length;
}
