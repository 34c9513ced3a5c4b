// Hides each program of scripts/test-packages.mjs in turn and runs the tests that mention it, as root and as an ordinary
// user: a test that does not declare what it needs fails. Needs root, and takes half an hour.
//   test-bare.mjs [--all] [--user root|ordinary …] [PROGRAM …]
import { spawnSync } from "node:child_process";
import {
	chmodSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	realpathSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { root, run } from "./setup.mjs";
import { runFiles, testFiles } from "./test.mjs";
import { pathsOf, TOOLS } from "./test-packages.mjs";

/** The build needs it, so it cannot be left out. */
const REQUIRED = ["cc"];
/** How a test mentions a program, if not only by its name. */
const RANGES = /newuidmap|getsubids|\.rootless|"ordinary"|freshUser|\bask(?:As|Ordinary)\b/;
const MENTIONS = {
	newuidmap: RANGES,
	newgidmap: RANGES,
	getsubids: RANGES,
	setpriv: /setpriv|"ordinary"/,
	script: /"script"/, // the tests use the word in other ways too
};
/** An ordinary user with subordinate IDs, who exists only in the mount namespaces of the runs. */
const USER = { name: "userns-bare", uid: 54_323, first: 900_000, size: 1_000_000 };

/** $1: the folder of prepare(); $2…: the program. USERNS_HIDDEN: the folders in which the program is hidden by a whiteout. */
const HIDE = `set -e
top=$1
shift
for file in passwd group subuid subgid; do mount --bind "$top/etc/$file" "/etc/$file"; done
exec 9<"$(command -v mount)" # mount(8) may be the program that becomes hidden
for folder in $USERNS_HIDDEN; do
	/proc/self/fd/9 -t overlay -o "lowerdir=$top/whiteouts:$folder" userns-bare "$folder"
done
exec 9<&-
exec "$@"`;

/** Makes a user database with USER in it, and a folder for whiteouts. */
function prepare(folder) {
	const line = {
		passwd: `${USER.name}:x:${USER.uid}:${USER.uid}::/nonexistent:/bin/sh`,
		group: `${USER.name}:x:${USER.uid}:`,
		subuid: `${USER.name}:${USER.first}:${USER.size}`,
		subgid: `${USER.name}:${USER.first}:${USER.size}`,
	};
	for (const name of ["etc", "whiteouts"]) mkdirSync(join(folder, name));
	for (const [file, text] of Object.entries(line)) {
		const path = join("/etc", file);
		if (!existsSync(path)) throw new Error(`there is no ${path}`);
		writeFileSync(join(folder, "etc", file), `${readFileSync(path, "utf8").trimEnd()}\n${text}\n`);
	}
}

/** Makes a copy of the checkout that belongs to USER. */
function copyForUser(folder) {
	const copy = join(folder, "userns");
	mkdirSync(copy);
	const names = readdirSync(root).filter((name) => name !== ".git");
	run("cp", ["-a", ...names, copy]);
	run("chown", ["-R", `${USER.uid}:${USER.uid}`, copy]);
	return copy;
}

/** Not searched, because it mentions every program, and every test imports it. */
const LOOKS = join(root, "dist/test/support/needs.js");

/** Returns the text of a compiled test and of every file in dist/test that it imports. */
function textOf(file, seen = new Set([LOOKS])) {
	if (seen.has(file)) return "";
	seen.add(file);
	const text = readFileSync(file, "utf8");
	const imports = [...text.matchAll(/from "(\.[^"]+\.js)"/g)].map(([, name]) => join(dirname(file), name));
	const ours = imports.filter((name) => name.startsWith(join(root, "dist/test/")));
	return [text, ...ours.map((name) => textOf(name, seen))].join("\n");
}

/** Returns the tests that mention a program. */
function affected(tool, all) {
	// A test of several file systems has the name of the type in a variable.
	const inVariable = tool.startsWith("mkfs.") ? "|mkfs\\.\\$" : "";
	const mention = MENTIONS[tool] ?? new RegExp(`(?<![\\w.-])${tool}(?![\\w-])${inVariable}`);
	const folders = readdirSync(join(root, "dist/test"), { withFileTypes: true })
		.filter((entry) => entry.isDirectory())
		.map((entry) => entry.name);
	return testFiles(folders).filter((file) => all || mention.test(textOf(join(root, file))));
}

/** Runs test files with the program hidden. Returns the exit status, the output and the seconds. */
function runHidden(tool, user, files, { folder, copy }) {
	const whiteout = join(folder, "whiteouts", tool);
	const hidden = new Set(pathsOf(tool).map((path) => realpathSync(dirname(path))));
	run("mknod", [whiteout, "c", "0", "0"]);
	try {
		const script = join(user === "root" ? root : copy, "scripts/test-bare.mjs");
		const start = Date.now();
		const result = spawnSync(
			"unshare",
			[
				...["--mount", "--propagation", "private", "sh", "-c", HIDE, "sh", folder],
				...[process.execPath, script, "--inside", "--user", user, ...files],
			],
			{
				cwd: user === "root" ? root : copy,
				encoding: "utf8",
				env: { ...process.env, USERNS_HIDDEN: [...hidden].join(" ") },
				maxBuffer: 1 << 28,
				stdio: ["ignore", "pipe", "pipe"],
			},
		);
		const output = `${result.stdout}${result.stderr}`;
		return { status: result.status, output, seconds: Math.round((Date.now() - start) / 1000) };
	} finally {
		rmSync(whiteout);
	}
}

/** Runs in the mount namespace in which the program is hidden. */
function inside(user, files) {
	if (user === "ordinary") {
		process.setgroups([]);
		process.setgid(USER.uid);
		process.setuid(USER.uid);
		Object.assign(process.env, { HOME: "/nonexistent", USER: USER.name, LOGNAME: USER.name });
	}
	runFiles(files);
}

async function main() {
	const { values, positionals } = parseArgs({
		options: {
			all: { type: "boolean", default: false },
			inside: { type: "boolean", default: false },
			user: { type: "string", multiple: true, default: ["root", "ordinary"] },
		},
		allowPositionals: true,
	});
	if (values.inside) return inside(values.user[0], positionals);
	if (process.platform !== "linux" || process.geteuid() !== 0) {
		console.error("userns: this check needs root, because it hides programs in separate mount namespaces");
		process.exit(1);
	}
	await build();
	const folder = mkdtempSync(join(tmpdir(), "userns-bare-"));
	process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	chmodSync(folder, 0o755);
	prepare(folder);
	const copy = values.user.includes("ordinary") ? copyForUser(folder) : undefined;
	const tools = positionals.length > 0 ? positionals : TOOLS.filter((tool) => !REQUIRED.includes(tool));
	for (const tool of tools) {
		const files = affected(tool, values.all);
		// Without a file, node --test would search for tests itself.
		if (files.length === 0) throw new Error(`no test mentions ${tool}`);
		for (const user of values.user) {
			const { status, output, seconds } = runHidden(tool, user, files, { folder, copy });
			const skipped = /^ℹ skipped (\d+)$/m.exec(output)?.[1] ?? "?";
			const passed = /^ℹ pass (\d+)$/m.exec(output)?.[1] ?? "?";
			console.log(
				`${status === 0 ? "ok  " : "FAIL"} without ${tool}, ${user}: ${files.length} files, ${passed} passed, ${skipped} left out, ${seconds} s`,
			);
			if (status === 0) continue;
			process.exitCode = 1;
			const lines = output.split("\n").filter((line) => !/^[✔﹣ℹ] /.test(line));
			console.log(lines.join("\n"));
		}
	}
}

await main();
