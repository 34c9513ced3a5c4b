import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserNamespace } from "../../src/index.ts";
import { extractProgram } from "../support/copies.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

/*
 * A process in the namespace may stop userns-join, which then reads nothing, and after setuid(2) its parent may not
 * kill it. userns-join must end when the parent closes its end of the socket, also if RLIMIT_SIGPENDING leaves no room
 * for a timer (timer_create(2), EAGAIN).
 */

const needs = ["linux", "root", "tool:prlimit"] as const;
const folder = mkdtempSync(join(tmpdir(), "userns-join-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
const PROGRAM = join(folder, "userns-join");
extractProgram("userns-join", PROGRAM);
const NO_TIMERS = ["prlimit", "--sigpending=0"];

function state(pid: number): string | undefined {
	return /^State:\s*(\w)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
}

async function until(what: string, holds: () => boolean): Promise<void> {
	for (let i = 0; i < 500 * SLOWER; i++) {
		if (holds()) return;
		await sleep(10);
	}
	throw new Error(`in vain: ${what}`);
}

/**
 * userns-join with the socket as descriptor 0 and the namespace as 1, as join-process.c starts it, once it has joined.
 */
async function started(prefix: readonly string[], ns: UserNamespace | undefined): Promise<ChildProcess> {
	const [command = PROGRAM, ...rest] = [...prefix, PROGRAM, ...(ns === undefined ? ["new"] : [])];
	const child = spawn(command, rest, { stdio: ["pipe", ns?.fd ?? "ignore", "inherit"] });
	const own = readlinkSync("/proc/self/ns/user");
	await until("it joins", () => readlinkSync(`/proc/${child.pid}/ns/user`) !== own);
	return child;
}

for (const mode of ["joined", "new"]) {
	for (const prefix of [[], NO_TIMERS]) {
		test(`a stopped userns-join (${mode}) ends with the socket${prefix.length > 0 ? ", with RLIMIT_SIGPENDING 0" : ""}`, {
			needs,
		}, async () => {
			const ns = mode === "joined" ? await UserNamespace.create("0:100000:10") : undefined;
			const child = await started(prefix, ns);
			try {
				const ended = once(child, "exit");
				child.kill("SIGSTOP");
				await until("it is stopped", () => state(child.pid as number) === "T");
				(child.stdin as Socket).destroy();
				const [status, signal] = await Promise.race([ended, sleep(3000 * SLOWER, ["still", "there"])]);
				assert.deepEqual([status, signal], [null, "SIGKILL"]);
			} finally {
				child.kill("SIGKILL");
				ns?.close();
			}
		});
	}
}

test("userns-join joins nothing if its parent closed the socket before userns-join was ready", {
	needs: [...needs, "tool:strace"],
}, async () => {
	const ns = await UserNamespace.create("0:100000:10");
	try {
		// cat(1) waits for the end of its input, when the socket is closed.
		const script = 'cat; exec strace -qq -e trace=setns,exit_group "$0"';
		const child = spawn("sh", ["-c", script, PROGRAM], { stdio: ["pipe", ns.fd, "pipe"] });
		let traced = "";
		child.stderr?.on("data", (data) => {
			traced += data;
		});
		child.stdin?.destroy();
		await once(child, "close");
		assert.match(traced, /SIGPIPE|exit_group/, "it ended");
		assert.doesNotMatch(traced, /setns/);
	} finally {
		ns.close();
	}
});
