// Runs test files with Node.js, and returns a line for each test.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync } from "node:fs";
import { dirname } from "node:path";
import { root } from "../setup.mjs";
import { systemPath } from "../test-packages.mjs";

/** Runs a command behind the prefix, with its output in the log. Returns its status and standard output. */
export async function logged({ prefix }, command, env, log) {
	const [program, ...args] = [...prefix, ...command];
	const child = spawn(program, args, {
		cwd: root,
		env: { ...process.env, PATH: systemPath(), USERNS_PRIVATE_MOUNTS: "1", ...env },
		stdio: ["ignore", "pipe", "pipe"],
	});
	const text = { stdout: "" };
	for (const name of ["stdout", "stderr"]) {
		child[name].setEncoding("utf8").on("data", (chunk) => {
			if (name === "stdout") text.stdout += chunk;
			appendFileSync(log, chunk);
		});
	}
	const [status] = await once(child, "close");
	return { status, stdout: text.stdout };
}

/** The mark of the lines of the reporter lines.mjs, among the lines of the reporter "spec". */
const isLine = (line) => line.startsWith('{"name":');

export function parse({ status, stdout }, what) {
	const lines = stdout
		.split("\n")
		.filter(isLine)
		.map((line) => JSON.parse(line));
	// A run that ended early must not count as one in which everything passed.
	const failed = lines.some(({ result }) => result === "failed");
	if (lines.length === 0 || (status !== 0 && !failed)) {
		lines.push({ name: `${what} ended with status ${status}`, result: "failed", why: "" });
	}
	return lines;
}

export async function runNodeTests(prepared, files, env, log) {
	const reporters = ["spec", "./scripts/runtimes/lines.mjs"].flatMap((reporter) => [
		`--test-reporter=${reporter}`,
		"--test-reporter-destination=stdout",
	]);
	const { node } = prepared;
	// The tests also find the program as "node" in PATH.
	const PATH = `${dirname(node)}:${systemPath()}`;
	const command = [node, "--test", "--test-concurrency=1", ...reporters, ...files];
	return parse(await logged(prepared, command, { PATH, ...env }, log), "node --test");
}
