import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserNamespace } from "../../src/index.ts";
import { root, sh } from "./child.ts";
import { status } from "./programs.ts";

/** A process that the attacker seized or looked into. The uid is as the namespace sees it, so 65534 is a user of the host. */
export interface Caught {
	/** "caught" for ptrace(2), otherwise the file in /proc/PID. */
	way: string;
	uid: number;
	name: string;
}

export interface Attacker {
	/** In the caller's pid namespace. */
	pid: number;
	caught(): Caught[];
}

/** An ID that the namespace does not map. */
export const OVERFLOW = 65534;

/**
 * Where the attacker runs: in a namespace of this package, or in one that an ordinary user with that uid creates; with options of
 * unshare(1) for other namespaces.
 */
export type Home = ({ ns: UserNamespace } | { owner: number }) & { unshare?: readonly string[] };

function start(home: Home, program: string): ChildProcess {
	const others = home.unshare === undefined ? [] : ["unshare", ...home.unshare];
	if ("ns" in home) {
		const enter = ["--user=/proc/self/fd/3", "--setuid", "0", "--setgid", "0", ...others, program];
		return spawn("nsenter", enter, { stdio: ["ignore", "pipe", "inherit", home.ns.fd] });
	}
	return spawn("unshare", ["--user", "--map-root-user", ...(home.unshare ?? []), program], {
		stdio: ["ignore", "pipe", "inherit"],
		uid: home.owner,
		gid: home.owner,
	});
}

/** The process of the attacker, which unshare(1) starts as a child with --fork. */
function attackerOf(pid: number): number {
	const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
	return status(pid, "Name") === "attacker" ? pid : Number(children);
}

/**
 * Runs `body` while a process in the namespace, as root there and in the same pid namespace, tries to seize every
 * process that joins (attacker.c). At the end, shows that it catches a process that joins as the host's root and can be
 * traced, because an attacker that catches no process proves nothing.
 */
export async function withAttacker(
	home: Home,
	body: (ns: UserNamespace, attacker: Attacker) => Promise<void>,
): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-attacker-"));
	chmodSync(folder, 0o755);
	const program = join(folder, "attacker");
	sh("cc", "-O2", "-o", program, join(root, "test/support/programs/attacker.c"));
	const child = start(home, program);
	let said = "";
	child.stdout?.on("data", (chunk) => {
		said += chunk;
	});
	const caught = () =>
		[...said.matchAll(/^([a-z/0-9-]+) \d+ (-?\d+) (.*)$/gm)].map(([, way = "", uid, name = ""]) => ({
			way,
			uid: Number(uid),
			name,
		}));
	const ofTheHost = (way: RegExp) =>
		caught().filter((each) => each.uid === OVERFLOW && way.test(each.way)).length;
	let ns: UserNamespace | undefined;
	try {
		while (!said.includes("ready")) await sleep(5);
		const pid = attackerOf(child.pid as number);
		ns = UserNamespace.open(pid);
		await body(ns, { pid, caught });
		await sleep(20);
		const ways = [/^caught$/, /^(root|cwd|exe)$/, /^(mem|open-root|fd.*)$/];
		const before = ways.map(ofTheHost);
		const missing = () => ways.filter((way, at) => ofTheHost(way) === before[at]);
		const victim = ["--target", String(pid), "--user", ...(home.unshare === undefined ? [] : ["--pid"])];
		for (let i = 0; i < 400 && missing().length > 0; i++) {
			spawnSync("nsenter", [...victim, "--preserve-credentials", "sleep", "0.02"], { stdio: "ignore" });
			await sleep(1);
		}
		assert.deepEqual(
			missing(),
			[],
			"the attacker did not get into a process in each way, so this shows nothing",
		);
	} finally {
		ns?.close();
		child.kill("SIGKILL");
		if (child.exitCode === null && child.signalCode === null) await once(child, "close");
		rmSync(folder, { recursive: true });
	}
}
