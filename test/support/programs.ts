import type { ChildProcess } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { NamespaceKind } from "../../src/index.ts";
import { SLOWER } from "./slower.ts";

export interface Ended {
	status: number | null;
	signal: NodeJS.Signals | null;
	stdout: string;
	stderr: string;
	/** The value of the `error` event. */
	error: (Error & { code?: string; step?: string; hint?: string; errnoCode?: string }) | undefined;
}

/** The output of a child, and its end. */
export function ended(child: ChildProcess): Promise<Ended> {
	return new Promise((resolve) => {
		const said = { stdout: "", stderr: "" };
		let error: Ended["error"];
		for (const name of ["stdout", "stderr"] as const) {
			child[name]?.setEncoding("utf8").on("data", (chunk: string) => {
				said[name] += chunk;
			});
		}
		child.on("error", (event) => {
			error = event;
		});
		child.on("close", (status, signal) => resolve({ status, signal, ...said, error }));
	});
}

/** A field of /proc/PID/status, with single blanks. */
export function status(pid: number, field: string): string | undefined {
	try {
		const text = readFileSync(`/proc/${pid}/status`, "utf8");
		return new RegExp(`^${field}:(.*)$`, "m").exec(text)?.[1]?.trim().split(/\s+/).join(" ");
	} catch {
		return undefined;
	}
}

/** Whether it runs that program and waits, with its loader done. */
function isAtRest(pid: number, name: string): boolean {
	return status(pid, "Name") === name && status(pid, "State")?.startsWith("S") === true;
}

/** Waits until a process has executed that program, by the kernel's name of it, and sleeps. */
export async function becomes(pid: number, name: string): Promise<void> {
	for (let i = 0; !isAtRest(pid, name); i++) {
		if (i > 1000 * SLOWER) throw new Error(`process ${pid} is ${status(pid, "Name")} and not ${name}`);
		await sleep(5);
	}
}

/** The children of a process with that name. */
export function childrenCalled(pid: number, name: string): number[] {
	return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
		.split(" ")
		.map(Number)
		.filter((child) => child > 0 && isAtRest(child, name));
}

/** Waits for a child with that name. */
export async function childCalled(pid: number, name: string): Promise<number> {
	for (let i = 0; ; i++) {
		const [child] = childrenCalled(pid, name);
		if (child !== undefined) return child;
		if (i > 1000 * SLOWER) throw new Error(`process ${pid} has no child ${name}`);
		await sleep(5);
	}
}

/** Waits until a process is gone or a zombie, because init may reap it late. */
export async function gone(pid: number): Promise<void> {
	for (let i = 0; ; i++) {
		const state = status(pid, "State");
		if (state === undefined || state.startsWith("Z")) return;
		if (i > 600 * SLOWER) throw new Error(`process ${pid} is still there: ${state}`);
		await sleep(5);
	}
}

/** The descriptors of a process, with their targets. */
export function descriptorsOf(pid: number): Record<string, string> {
	return Object.fromEntries(
		readdirSync(`/proc/${pid}/fd`).map((fd) => [fd, readlinkSync(`/proc/${pid}/fd/${fd}`)]),
	);
}

export function namespaceOf(pid: number | string, kind: string): string {
	return readlinkSync(`/proc/${pid}/ns/${kind}`);
}

/** The names of the kinds of namespaces in /proc/PID/ns. */
export const NAMESPACE_FILES: Readonly<Record<NamespaceKind, string>> = {
	mount: "mnt",
	pid: "pid",
	net: "net",
	ipc: "ipc",
	uts: "uts",
	cgroup: "cgroup",
	time: "time",
};

/** The kinds that this kernel has. */
export const KINDS: NamespaceKind[] = (Object.keys(NAMESPACE_FILES) as NamespaceKind[]).filter((kind) =>
	existsSync(`/proc/self/ns/${NAMESPACE_FILES[kind]}`),
);
