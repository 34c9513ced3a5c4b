import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserNamespace } from "../../src/index.ts";
import { root, sh } from "./child.ts";

/** A process that the attacker seized. The uid is as the namespace sees it, so 65534 is a user of the host. */
export interface Caught {
	uid: number;
	name: string;
}

export interface Attacker {
	caught(): Caught[];
}

/** An ID that the namespace does not map. */
export const OVERFLOW = 65534;

/** Where the attacker runs: in a namespace of this package, or in one that an ordinary user with that uid creates. */
export type Home = { ns: UserNamespace } | { owner: number };

function start(home: Home, program: string): ChildProcess {
	if ("ns" in home) {
		return spawn("nsenter", ["--user=/proc/self/fd/3", "--setuid", "0", "--setgid", "0", program], {
			stdio: ["ignore", "pipe", "inherit", home.ns.fd],
		});
	}
	return spawn("unshare", ["--user", "--map-root-user", program], {
		stdio: ["ignore", "pipe", "inherit"],
		uid: home.owner,
		gid: home.owner,
	});
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
		[...said.matchAll(/^caught \d+ (-?\d+) (.*)$/gm)].map(([, uid, name = ""]) => ({
			uid: Number(uid),
			name,
		}));
	const ofTheHost = () => caught().filter(({ uid }) => uid === OVERFLOW).length;
	let ns: UserNamespace | undefined;
	try {
		while (!said.includes("ready")) await sleep(5);
		ns = UserNamespace.open(child.pid as number);
		await body(ns, { caught });
		await sleep(20);
		const before = ofTheHost();
		for (let i = 0; i < 200 && ofTheHost() === before; i++) {
			spawnSync("nsenter", ["--user=/proc/self/fd/3", "--preserve-credentials", "sleep", "0.02"], {
				stdio: ["ignore", "ignore", "ignore", ns.fd],
			});
			await sleep(1);
		}
		assert.ok(ofTheHost() > before, "the attacker caught no process, so this shows nothing");
	} finally {
		ns?.close();
		child.kill("SIGKILL");
		if (child.exitCode === null && child.signalCode === null) await once(child, "close");
		rmSync(folder, { recursive: true });
	}
}
