import { type SpawnSyncOptions, spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runText } from "./runtime.ts";
import { SLOWER } from "./slower.ts";

/** The project's folder, found from dist/test/support. */
export const root: string = fileURLToPath(new URL("../../..", import.meta.url));

let copy: string | undefined;

/** A copy of the build that every user can read, because the checkout may be below a home that others cannot enter. */
export function packageForAll(): string {
	if (copy !== undefined) return copy;
	const folder = mkdtempSync(join(tmpdir(), "userns-package-"));
	chmodSync(folder, 0o755);
	for (const part of ["package.json", "scripts", "dist/src", "prebuilds"]) {
		cpSync(join(root, part), join(folder, part), { recursive: true });
	}
	process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	copy = folder;
	return folder;
}

export interface ScriptOptions extends Pick<SpawnSyncOptions, "uid" | "gid" | "stdio" | "timeout"> {
	/** Programs and arguments that run Node: `["nsenter", "--user=…"]`. */
	prefix?: readonly string[];
	nodeFlags?: readonly string[];
	env?: Record<string, string>;
}

export interface ScriptResult {
	status: number | null;
	stdout: string;
	stderr: string;
}

/**
 * The declaration of `readChildren()` for a script: the pids of the process's children, zombies included. A thread can
 * end during the listing, and its children then belong to another thread, so the script reads all of them again.
 */
export const READ_CHILDREN = `const { readdirSync: listOf, readFileSync: textOf } = await import("node:fs");
const readChildren = () => {
	for (;;) {
		try {
			return listOf("/proc/self/task").flatMap((task) =>
				textOf("/proc/self/task/" + task + "/children", "utf8").split(" ").filter(Boolean));
		} catch (error) {
			if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error;
		}
	}
};
`;

/**
 * Runs a module in a separate process, which gets the package as `userns`, at the URL `USERNS`, and `readChildren()`.
 * The module prints its results as JSON.
 */
export function runScript(body: string, options: ScriptOptions = {}): ScriptResult {
	const { prefix = [], nodeFlags = [], env = {}, ...rest } = options;
	const index = join(packageForAll(), "dist/src/library/userns.js");
	const code = `const USERNS = ${JSON.stringify(pathToFileURL(index))};\nconst userns = await import(USERNS);\n${READ_CHILDREN}${body}`;
	const [command = "", ...args] = [...prefix, ...runText(code, nodeFlags)];
	const result = spawnSync(command, args, {
		cwd: "/",
		encoding: "utf8",
		maxBuffer: 1 << 26,
		timeout: 50_000 * SLOWER,
		env: { ...process.env, ...env },
		...rest,
	});
	if (result.error) throw result.error;
	return { status: result.status, stdout: String(result.stdout), stderr: String(result.stderr) };
}

/** As runScript, and parses the script's output. A script that fails makes the test fail with its standard error. */
export function ask<T>(body: string, options: ScriptOptions = {}): T {
	const { status, stdout, stderr } = runScript(body, options);
	if (status !== 0) throw new Error(`the script ended with status ${status}: ${stderr}${stdout}`);
	return JSON.parse(stdout) as T;
}

/** Runs the command in a separate process. */
export function userns(...args: string[]): ScriptResult {
	const result = spawnSync(process.execPath, [join(root, "dist/src/cli/userns.js"), ...args], {
		encoding: "utf8",
	});
	return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** Runs a program and returns its standard output. Throws its standard error when it fails. */
export function sh(command: string, ...args: string[]): string {
	const result = spawnSync(command, args, { encoding: "utf8" });
	if (result.error) throw result.error;
	if (result.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${result.stderr}`);
	return result.stdout;
}
