import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, sh } from "./child.ts";

let program: string | undefined;

/**
 * The program of sandbox-attacks.c, which every user can run. It is static, for root file systems without a C library,
 * and is outside of /tmp, which a sandbox covers.
 */
export function attackProgram(): string {
	if (program !== undefined) return program;
	const folder = mkdtempSync("/var/tmp/userns-sandbox-attacks-");
	process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	chmodSync(folder, 0o755);
	const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-static"];
	sh(
		"cc",
		...flags,
		"-o",
		join(folder, "sandbox-attacks"),
		join(root, "test/support/programs/sandbox-attacks.c"),
	);
	program = join(folder, "sandbox-attacks");
	return program;
}

/** The output of the program: the result of each attack by its text, "ok" or an errno. */
export function results(stdout: string): Map<string, string> {
	const lines = stdout.split("\n").filter((line) => /^[a-z-]+=\S* (ok|E[A-Z0-9]+)$/.test(line));
	return new Map(lines.map((line) => line.split(" ") as [string, string]));
}

/** Asserts that every attack was tried, and that the kernel refused all of them. */
export function assertRefused(stdout: string, attacks: readonly string[]): void {
	const found = results(stdout);
	assert.deepEqual([...found.keys()], [...attacks], stdout);
	assert.deepEqual(
		[...found].filter(([, result]) => result === "ok"),
		[],
	);
}
