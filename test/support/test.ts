import assert from "node:assert/strict";
import { test as nodeTest, type TestContext } from "node:test";
import { remaining, snapshot } from "./leaks.ts";
import { type Need, reasonToSkip } from "./needs.ts";
import { SLOWER } from "./slower.ts";

export interface TestOptions {
	/** What the test needs. If a need is not met the test is skipped with the reason, or fails if CI promised it. */
	needs?: readonly Need[];
	timeout?: number;
}

export type TestBody = (t: TestContext) => void | Promise<void>;

const linux = process.platform === "linux";
let warm: Promise<unknown> | undefined;

/**
 * `test` of node:test with a leak check around it: after the test, the process must have no descriptor, thread, child
 * or mount that it did not have before.
 */
export function test(name: string, options: TestOptions, body: TestBody): void;
export function test(name: string, body: TestBody): void;
export function test(name: string, first: TestOptions | TestBody, second?: TestBody): void {
	const [options, body] = typeof first === "function" ? [{}, first] : [first, second as TestBody];
	nodeTest(name, { timeout: (options.timeout ?? 60_000) * SLOWER }, async (t) => {
		const reason = reasonToSkip(options.needs ?? []);
		if (reason !== undefined) return t.skip(reason);
		if (!linux) return body(t);
		warm ??= warmUp();
		await warm;
		const before = snapshot();
		await body(t);
		assert.deepEqual(await remaining(before), [], "the test left something behind");
	});
}

/** Node's own descriptors and threads of the first asynchronous work and the first child are not leaks. */
async function warmUp(): Promise<void> {
	const { readFile } = await import("node:fs/promises");
	const { spawn } = await import("node:child_process");
	await readFile("/proc/self/stat");
	await new Promise((resolve) => spawn("true", { stdio: "pipe" }).on("close", resolve));
}
