import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs, { existsSync, readFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { print } from "../../src/cli/output.ts";
import { root, type ScriptResult, userns } from "../support/child.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/* Standard output cannot be written: what the command has done by then stays done, and the error says so. */

const needs = ["linux", "root", "mounts"] as const;
/** 128 and the number of SIGPIPE, as of a program that the signal ended. */
const BROKEN_PIPE = 141;

/** The command with its standard output in a pipe whose reader has ended, or on a full disk. */
function into(output: "| true" | "> /dev/full", ...args: string[]): ScriptResult {
	const script = output === "| true" ? 'exec 3> >(true); wait $!; "$@" >&3' : '"$@" > /dev/full';
	const command = [process.execPath, join(root, "dist/src/cli/userns.js"), ...args];
	const { status, stdout, stderr } = spawnSync("bash", ["-c", script, "bash", ...command], {
		encoding: "utf8",
	});
	return { status, stdout, stderr };
}

const reading: string[][] = [
	["--help"],
	["mount", "--help"],
	["--version"],
	["mounts", "--all"],
	["mounts", "--all", "--json"],
	["show", `${process.pid}`],
	["show", `${process.pid}`, "--json"],
	["ls", "--svg", "-"],
	["map", "convert", "0:1:1"],
	["map", "draw", "0:1:1"],
	["map", "draw", "0:1:1", "--svg", "-"],
	["map", "check", "0:1:1", "--json"],
	["supports", "/tmp"],
	["doctor", "/tmp"],
];

test("the command prints nothing and exits with the status of SIGPIPE when the reader has closed the pipe", {
	needs: [...needs, "tool:bash"],
}, () => {
	for (const args of reading) {
		const { status, stdout, stderr } = into("| true", ...args);
		assert.deepEqual(
			{ status, stdout, stderr },
			{ status: BROKEN_PIPE, stdout: "", stderr: "" },
			args.join(" "),
		);
	}
});

test("the command prints one line and exits with status 1 when the disk is full, and 2 instead of an answer", {
	needs: [...needs, "tool:bash"],
}, () => {
	for (const args of reading) {
		const { status, stderr } = into("> /dev/full", ...args);
		assert.equal(status, /supports|check|doctor/.test(args.join()) ? 2 : 1, args.join(" "));
		assert.equal(
			stderr,
			"userns: nothing was changed; the result cannot be written to standard output: ENOSPC: no space left on device, write\n",
		);
	}
});

test(
	"a command whose result cannot be written keeps what it has done, and its error line says so",
	{ needs: [...needs, "tool:bash"] },
	() =>
		withTmpfs((folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const at = join(folder, "ns");
			const full = (done: string, ...args: string[]) => {
				const { status, stderr } = into("> /dev/full", ...args);
				assert.equal(status, 1);
				assert.match(
					stderr,
					/^userns: [^\n]*; the result cannot be written to standard output: ENOSPC[^\n]*\n$/,
				);
				assert.ok(stderr.startsWith(`userns: ${done}`), stderr);
			};
			const gone = (...args: string[]) => {
				const { status, stderr } = into("| true", ...args);
				assert.deepEqual({ status, stderr }, { status: BROKEN_PIPE, stderr: "" });
			};
			full("the user namespace ", "create", "--map", "0:100000:10", "--at", at);
			assert.equal(mountAt(at)?.type, "nsfs");
			full(`user namespace unmounted from ${at}`, "umount", at);
			assert.ok(!existsSync(at));
			gone("create", "--map", "0:100000:10", "--at", at);
			assert.equal(mountAt(at)?.type, "nsfs");
			gone("umount", at);
			assert.ok(!existsSync(at));
			full(`${source} is mounted on ${target}`, "mount", "--map", "0:1:1", source, target);
			assert.ok(mountAt(target)?.options.includes("idmapped"));
			full(`ID-mapped mount unmounted from ${target}`, "umount", "--json", target);
			assert.equal(mountAt(target), undefined);
			gone("mount", "--json", "--map", "0:1:1", source, target);
			assert.ok(mountAt(target)?.options.includes("idmapped"));
			gone("umount", target);
			assert.equal(mountAt(target), undefined);
			const file = join(folder, "drawing.svg");
			full(`the drawing is written to ${file}`, "map", "draw", "0:1:1", "--svg", file);
			assert.ok(readFileSync(file, "utf8").endsWith("</svg>\n"));
		}),
);

test("the command prints a failure on standard error even if standard output cannot be written", {
	needs: [...needs, "tool:bash"],
}, () => {
	const words = ["mount", "--json", "--map", "0:1:1", "/no/such", "/there"];
	const expected = userns(...words).stderr;
	for (const output of ["| true", "> /dev/full"] as const) {
		const { status, stderr } = into(output, ...words);
		assert.deepEqual({ status, stderr }, { status: 1, stderr: expected });
	}
	const both = spawnSync("bash", [
		"-c",
		'"$@" > /dev/full 2> /dev/full',
		"bash",
		process.execPath,
		join(root, "dist/src/cli/userns.js"),
		...words,
	]);
	assert.equal(both.status, 1);
});

test("print writes everything, although write(2) takes only a part, or nothing at first", async () => {
	const { writeSync } = fs;
	const pieces: string[] = [];
	let calls = 0;
	fs.writeSync = (descriptor: number, bytes: unknown, at: unknown) => {
		assert.equal(descriptor, 1);
		// As a pipe that another program has made non-blocking, and a disk with little room.
		if (++calls % 2 === 1) throw Object.assign(new Error("EAGAIN"), { code: "EAGAIN" });
		const piece = (bytes as Buffer).subarray(at as number, (at as number) + 7);
		pieces.push(piece.toString("latin1"));
		return piece.length;
	};
	syncBuiltinESMExports();
	try {
		await print(false, undefined, () => ["a line of text \u20ac", "another"]);
	} finally {
		fs.writeSync = writeSync;
		syncBuiltinESMExports();
	}
	assert.equal(Buffer.from(pieces.join(""), "latin1").toString(), "a line of text \u20ac\nanother\n");
	assert.ok(pieces.length > 3);
});
