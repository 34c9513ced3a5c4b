import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { jsonText, printable, table } from "../../src/cli/output.ts";
import { UsernsError } from "../../src/index.ts";
import { root, type ScriptResult, sh, userns } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { test } from "../support/test.ts";

/*
 * Other users choose the names of files, mounts and file systems. No command prints a character that a terminal obeys or
 * that changes how a line is read, and JSON has the same value without it.
 */

const needs = ["linux", "root", "mounts"] as const;
/** ESC, BEL, a C1 control, a right-to-left override, a line separator, a tag beyond 16 bits, DEL, carriage return, newline. */
const BAD = "\x1b]0;T\x07\x9b31m\u202egnp\u2028\u{e0001}\x7f\r\n.";
const ESCAPED = "\\u{1b}]0;T\\u{7}\\u{9b}31m\\u{202e}gnp\\u{2028}\\u{e0001}\\u{7f}\\u{d}\\u{a}.";
const IN_JSON = "\\u001b]0;T\\u0007\\u009b31m\\u202egnp\\u2028\\udb40\\udc01\\u007f\\r\\n.";
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Every line is free of them; the text has the name in its escaped form. */
function assertSafe(text: string, what: string): void {
	for (const line of text.split("\n")) assert.doesNotMatch(line, UNSAFE, `${what}: ${JSON.stringify(text)}`);
}

function run(status: number, ...args: string[]): ScriptResult {
	const result = userns(...args);
	assertSafe(result.stdout, `${args[0]}, standard output`);
	assertSafe(result.stderr, `${args[0]}, standard error`);
	assert.equal(result.status, status, result.stderr);
	return result;
}

test("a line escapes exactly the characters that an error message escapes", () => {
	for (let code = 0; code <= 0x10ffff; code++) {
		const character = String.fromCodePoint(code);
		const line = printable(character);
		if (UNSAFE.test(character)) assert.equal(line, `\\u{${code.toString(16)}}`);
		else assert.equal(line, character);
		if (line !== character || code < 0x100) {
			assert.equal(new UsernsError("ERR_USERNS_OPEN", character).message, line);
			const json = jsonText({ [character]: [character] });
			assert.doesNotMatch(json.replaceAll("\n", ""), UNSAFE);
			assert.deepEqual(JSON.parse(json), { [character]: [character] });
		}
	}
	assert.deepEqual(
		table([
			["a\x1b", "b"],
			["c", "d"],
		]),
		["a\\u{1b}  b", `c${" ".repeat(8)}d`],
	);
});

test("mount, mounts, supports and umount print no control character of a path", { needs }, () =>
	withTmpfs((folder) => {
		const [source = "", target = ""] = mkdirs(folder, `source${BAD}`, `target${BAD}`);
		const words = ["mount", "--map", "0:100000:10", source, target];
		const mounted = run(0, ...words).stdout;
		assert.ok(mounted.startsWith(`${folder}/source${ESCAPED} is mounted on ${folder}/target${ESCAPED}\n`));
		const listed = run(0, "mounts", "--all").stdout;
		assert.ok(listed.includes(`\n${folder}/target${ESCAPED}  `), listed);
		const json = run(0, "mounts", "--json").stdout;
		assert.ok(json.includes(`target${IN_JSON}"`), json);
		const parsed = JSON.parse(json) as { mountPoint: string }[];
		assert.ok(parsed.some(({ mountPoint }) => mountPoint === target));
		// The target is ID-mapped already, and gets a second map since Linux 6.15.
		const status = olderThan("6.15") === undefined ? 0 : 1;
		assert.ok(run(status, "supports", target).stdout.startsWith(`${folder}/target${ESCAPED} (`));
		assert.equal(JSON.parse(run(status, "supports", "--json", target).stdout).path, target);
		assert.equal(
			run(0, "umount", target).stdout,
			`ID-mapped mount unmounted from ${folder}/target${ESCAPED}\n`,
		);
		assert.equal(JSON.parse(run(0, ...words, "--json").stdout).target, target);
		assert.equal(JSON.parse(run(0, "umount", target, "--json").stdout).path, target);
		assert.match(run(1, "umount", target).stderr, /^userns: cannot unmount "[^\n]*\nhint: Pass the path/);
		assert.match(run(1, "mount", "--map", "0:1:1", `${source}x`, target).stderr, /open_tree|ENOENT/);
		assert.match(run(2, "supports", `${target}x`).stderr, /ENOENT/);
	}),
);

test(
	"a tree prints no control character of the mount that cannot be mapped, or of the skipped ones",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withTmpfs((folder) => {
			const [source = "", target = "", ram = ""] = mkdirs(folder, "source", "target", `source/${BAD}`);
			sh("mount", "-t", "ramfs", "ram", ram);
			const words = ["mount", "--map", "0:1:1", "--recursive", source, target];
			assert.ok(run(1, ...words).stderr.includes(`ramfs at ${source}/${ESCAPED}: `));
			const text = run(0, ...words, "--skip-unsupported").stdout;
			assert.ok(text.includes(`\nnot mapped: ramfs at ${source}/${ESCAPED}: `), text);
			sh("mount", "-t", "tmpfs", "other", join(target, BAD));
			assert.ok(run(1, "umount", target).stderr.includes(ESCAPED));
			run(0, "umount", "--recursive", target);
			sh("umount", ram);
		}),
);

test(
	"mounts prints no control character of a FUSE subtype and its directory, which a container's root chooses",
	{
		needs: [...needs, "fs:fuse", "tool:unshare", "tool:cc"],
	},
	() =>
		withTmpfs((folder) => {
			const program = join(folder, "fuse-name");
			sh("cc", "-O2", "-o", program, join(root, "test/support/programs/fuse-name.c"));
			const [place = ""] = mkdirs(folder, `c1${BAD}`);
			sh(program, place, `fuse.${BAD}`);
			const type = `fuse.${ESCAPED}`;
			const text = run(0, "mounts", "--all").stdout;
			assert.ok(text.includes(`\n${folder}/c1${ESCAPED}  ${type}  `) || text.includes(`${type} `), text);
			const json = run(0, "mounts", "--all", "--json").stdout;
			assert.ok(json.includes(`"fuse.${IN_JSON}"`), json);
			const found = (JSON.parse(json) as { fsType: string }[]).some(({ fsType }) => fsType === `fuse.${BAD}`);
			assert.ok(found);
			sh("umount", place);
		}),
);

test("create, show and exec print no control character of a path", { needs }, () =>
	withTmpfs((folder) => {
		const at = join(folder, BAD);
		assert.ok(
			run(0, "create", "--map", "0:100000:10", "--at", at).stdout.includes(
				`is pinned at ${folder}/${ESCAPED}\n`,
			),
		);
		run(1, "create", "--map", "0:100000:10", "--at", at);
		run(1, "create", "--map", "0:100000:10", "--at", at, "--json");
		run(0, "show", at);
		assert.equal(JSON.parse(run(0, "show", at, "--json").stdout).target, at);
		run(127, "exec", "--in", at, BAD);
		run(127, "exec", "--json", "--in", at, join(folder, BAD, BAD));
		writeFileSync(join(folder, `x${BAD}`), "", { mode: 0o600 });
		assert.ok(run(126, "exec", "--in", at, join(folder, `x${BAD}`)).stderr.includes("\\u{1b}"));
		run(125, "exec", "--in", `${at}x`, "true");
		run(0, "umount", at);
		assert.ok(!existsSync(at));
		run(1, "show", at);
		run(1, "umount", at);
	}),
);

test("map prints no control character of texts, users, files and drawings", { needs: ["linux"] }, () => {
	run(2, "map", "convert", BAD);
	run(2, "map", "convert", "--json", `0:1:1${BAD}`);
	run(2, "map", "convert", "--from", BAD, "0:1:1");
	run(2, "map", "convert", "--to", BAD, "0:1:1");
	run(2, "map", "convert", "--from", "subid", "--user", BAD, "a:1:1");
	run(2, "map", "compose", "0:1:1", BAD);
	run(2, "map", "translate", "--uid", BAD, "0:1:1");
	run(1, "map", "check", BAD);
	run(2, "map", "draw", BAD);
	run(0, "map", "draw", "0:1:1");
	run(0, "map", "draw", "--svg", "-", "0:1:1");
	run(1, "map", "draw", "--svg", `/no/such/${BAD}`, "0:1:1");
	run(1, "map", "draw", "--json", "--svg", `/no/such/${BAD}`, "0:1:1");
	for (const to of ["proc", "oci", "subid", "lxc"]) {
		const { status, stdout } = userns("map", "convert", "--to", to, "--user", "a", "0:1:1,10:20:30");
		if (status !== 0) continue;
		assertSafe(stdout, to);
	}
});

test("errors print no control character of unknown commands, options and values", () => {
	run(2, BAD);
	run(2, `--${BAD}`);
	run(2, "help", BAD);
	for (const command of ["mount", "umount", "mounts", "supports", "create", "exec", "show", "map"]) {
		const { stdout, stderr } = userns(command, `--${BAD}`);
		assert.equal(stdout, "");
		assert.match(stderr, /^userns: [^\n]*\nhint: [^\n]*\n$/);
		assertSafe(stderr, command);
	}
	run(2, "mount", "--map", BAD, "/a", "/b");
	run(2, "mount", "--map", "0:1:1", "--atime", BAD, "/a", "/b");
	run(2, "mounts", "--pid", BAD);
	run(2, "mounts", BAD);
});
