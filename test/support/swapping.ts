import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { root, sh } from "./child.ts";

let tools: string | undefined;

/** Removes the compiled program; a test file calls it in `after`. */
export function removeSwapper(): void {
	if (tools !== undefined) rmSync(tools, { recursive: true });
	tools = undefined;
}

/** Runs a process that exchanges two names while the body runs. The body gets a function that returns the count. */
export async function whileSwapping(
	a: string,
	b: string,
	body: (swaps: () => number) => Promise<void>,
): Promise<void> {
	if (tools === undefined) {
		tools = mkdtempSync(join(tmpdir(), "userns-swapper-"));
		sh("cc", "-O2", "-o", join(tools, "swapper"), join(root, "test/support/programs/swapper.c"));
	}
	const swapper: ChildProcess = spawn(join(tools, "swapper"), [a, b], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	const closed = once(swapper, "close");
	let swaps = 0;
	swapper.stdout?.setEncoding("utf8").on("data", (text: string) => {
		swaps = Number(text.trim().split("\n").at(-1));
	});
	try {
		while (swaps === 0 && swapper.exitCode === null) await sleep(5);
		await body(() => {
			assert.equal(swapper.exitCode, null, "the attacker gave up");
			return swaps;
		});
	} finally {
		swapper.kill("SIGTERM");
		await closed;
	}
	assert.equal(swapper.exitCode, 0);
}
