import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
	chmodSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask, packageForAll, root } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { askOrdinary } from "../support/ordinary.ts";
import { runFile } from "../support/runtime.ts";
import { test } from "../support/test.ts";

function read(path: string): string {
	return readFileSync(join(root, path), "utf8");
}

const README = read("README.md");
const manifest = JSON.parse(read("package.json"));

/** The code blocks of a language, in order. */
function blocks(text: string, language: string): string[] {
	return [...text.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, "g"))].map(
		([, code = ""]) => code,
	);
}

const [install = "", ownTmpfs = "", firstCommand = ""] = blocks(README, "sh");
const [firstProgram = ""] = blocks(README, "js");
const [example = ""] = blocks(README, "ts");
const [rootless = ""] = blocks(read("docs/library.md"), "ts");

/** The example as a script of `ask`, which has the package as `userns`. */
function script(code: string): string {
	return code.replace(/import (\{.*\}) from "userns";/, "const $1 = userns;");
}

test("every code block of the README is one that these tests run", () => {
	assert.equal(blocks(README, "sh").length, 3);
	assert.equal(blocks(README, "js").length, 1);
	assert.equal(blocks(README, "ts").length, 1);
	assert.equal(README.match(/^```/gm)?.length, 10);
	assert.match(install, /^npm install userns {2,}#.*\nnpm install --global userns {2,}#.*\n$/);
	assert.equal(manifest.name, "userns");
});

test("the documents name only scripts of package.json", () => {
	const pages = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
	const texts = [README, ...pages.map((name) => read(join("docs", name)))];
	const named = texts.flatMap((text) =>
		[...text.replace(/<!--.*-->/g, "").matchAll(/\bnpm run ([\w:]+)/g)].map(([, name = ""]) => name),
	);
	assert.ok(named.length > 3);
	assert.deepEqual(
		named.filter((name) => !Object.hasOwn(manifest.scripts, name)),
		[],
	);
	// CONTRIBUTING.md, which shows a clone.
	const [, clone = ""] = blocks(read("CONTRIBUTING.md"), "sh");
	for (const [, name = ""] of clone.matchAll(/^npm (\w+)/gm))
		assert.ok(name === "link" || Object.hasOwn(manifest.scripts, name), name);
	assert.match(clone, /^npm start .*\nnpm test .*\nnpm link .*\n$/);
});

test("docs/README.md lists each document, and the package has those for its users", () => {
	const index = read("docs/README.md");
	const [users = ""] = index.split("## For people who change it");
	const linked = (text: string) =>
		new Set([...text.matchAll(/\]\(([\w-]+\.md)\)|`docs\/([\w-]+\.md)`/g)].map(([, a, b]) => a ?? b));
	const pages = readdirSync(join(root, "docs")).filter(
		(name) => name.endsWith(".md") && name !== "README.md",
	);
	assert.deepEqual([...linked(index)].sort(), pages.sort());
	const shipped = (manifest.files as string[]).flatMap((path) => /^docs\/(.*)$/.exec(path)?.[1] ?? []);
	assert.deepEqual(shipped.sort(), ["README.md", ...linked(users)].sort());
});

test("npm link makes the command available", () => {
	const prefix = mkdtempSync(join(tmpdir(), "userns-link-"));
	try {
		const env = {
			...process.env,
			npm_config_prefix: prefix,
			npm_config_offline: "true",
			npm_config_ignore_scripts: "true",
		};
		const link = spawnSync("npm", ["link", "--loglevel=error"], {
			cwd: packageForAll(),
			env,
			encoding: "utf8",
		});
		assert.equal(link.status, 0, link.stderr);
		const { stdout } = spawnSync(join(prefix, "bin/userns"), ["--version"], { encoding: "utf8" });
		assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
	} finally {
		rmSync(prefix, { recursive: true });
	}
});

test("the README's example for root runs", { needs: ["linux", "root", "mounts"] }, () =>
	withTmpfs((folder) => {
		const [source = "", target = ""] = mkdirs(folder, "srv", "mnt");
		writeFileSync(join(source, "file"), "");
		const code = script(example)
			.replace('"/srv/data"', JSON.stringify(source))
			.replace('"/mnt/data"', JSON.stringify(target))
			.replace(
				"await mount.unmount();",
				`const seen = (await import("node:fs")).statSync("${target}/file").uid;\n$&`,
			)
			.replace(/console\.log\((.*)\);/, "console.log(JSON.stringify([seen, $1]));");
		const [seen, fd, inode, text] = ask<[number, number, number, string]>(code);
		assert.equal(seen, 2100000000);
		assert.ok(fd > 2);
		assert.ok(inode > 0);
		assert.equal(text, "0:2100000000:65536");
		assert.equal(statSync(join(target)).uid, 0);
	}),
);

test("the example of docs/library.md without root runs, and prints what its comment says", {
	needs: ["linux", "ordinary"],
}, () => {
	assert.equal(askOrdinary<number>(script(rootless)), 0);
});

/** A project with the package, whose folder `bin` has the command. Every user can read it. */
function makeProject(): string {
	const folder = mkdtempSync(join(tmpdir(), "userns-readme-"));
	process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	for (const each of ["node_modules", "bin"]) mkdirSync(join(folder, each));
	symlinkSync(packageForAll(), join(folder, "node_modules/userns"));
	const command = runFile(join(packageForAll(), "dist/src/cli/userns.js")).join(" ");
	writeFileSync(join(folder, "bin/userns"), `#!/bin/sh\nexec ${command} "$@"\n`);
	writeFileSync(join(folder, "first.mjs"), firstProgram);
	// As npm install leaves it. Deno looks for it.
	writeFileSync(join(folder, "package.json"), '{ "dependencies": { "userns": "*" } }');
	for (const each of ["", "node_modules", "bin", "bin/userns"]) chmodSync(join(folder, each), 0o755);
	for (const each of ["first.mjs", "package.json"]) chmodSync(join(folder, each), 0o644);
	return folder;
}

let made: string | undefined;

function project(): string {
	made ??= makeProject();
	return made;
}

/** A script of sh(1) with the command in PATH, which ends at the first failure. */
function inProject(text: string): string {
	return `set -e\nPATH=${project()}/bin:$PATH\ncd ${project()}\n${text}`;
}

/** Runs it as an ordinary user. */
function asOrdinary(text: string, input = ""): string {
	const { status, stdout, stderr } = askOrdinary<{ status: number; stdout: string; stderr: string }>(`
		import { spawnSync } from "node:child_process";
		const args = ["-c", ${JSON.stringify(inProject(text))}];
		const { status, stdout, stderr } = spawnSync("sh", args, { encoding: "utf8", input: ${JSON.stringify(input)} });
		console.log(JSON.stringify({ status, stdout, stderr }));`);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	return stdout;
}

/** Runs it as root in its own mount namespace, with the files of the README. */
function asRoot(text: string): string {
	const setUp = `for each in /srv /mnt /run; do mount -t tmpfs -o mode=755 tmpfs $each; done
mkdir /srv/data /mnt/data
touch /srv/data/file
`;
	const unshare = ["--mount", "--propagation", "private", "sh", "-c", inProject(setUp + text)];
	const { status, stdout, stderr } = spawnSync("unshare", unshare, { encoding: "utf8" });
	assert.equal(stderr, "");
	assert.equal(status, 0);
	return stdout;
}

const needs = ["linux", "root", "mounts", "tool:unshare"] as const;
const FIRST = `${runFile("first.mjs").join(" ")}\n${firstCommand.replace("npx ", "")}`;
const PRINTED = "uid 0 mounted a tmpfs at /mnt\n";

test("the README's first example runs as it stands, as root", { needs }, () => {
	assert.equal(asRoot(FIRST), PRINTED + PRINTED);
});

test("the README's first example runs as it stands, as an ordinary user", {
	needs: ["linux", "ordinary", "tool:mount"],
}, () => {
	assert.equal(asOrdinary(FIRST), PRINTED + PRINTED);
});

test("an ordinary user's own tmpfs is ID-mapped as the README says", {
	needs: ["linux", "ordinary", "linux:6.3", "tool:mount"],
}, () => {
	const printed = asOrdinary(ownTmpfs);
	assert.match(printed, /^\/mnt\/data is mounted on \/mnt\/seen$/m);
	const owners = [...printed.matchAll(/^-\S+ \d+ (\d+) +(\d+) .* file$/gm)].map(
		([, uid, gid]) => `${uid}:${gid}`,
	);
	assert.deepEqual(owners, ["0:0", "33:33"]);
});

/** The commands of the README's two tables of everyday jobs. */
const [jobsOfRoot = [], jobsOfUsers = []] = (README.split("\n## Everyday jobs\n")[1]?.split("\n## ")[0] ?? "")
	.split("As an ordinary user:")
	.map((text) =>
		[...text.matchAll(/^\| [^|]+ \| `(userns [^`]+)` +\|$/gm)].map(([, command = ""]) => command),
	);

/** Runs the commands in their order, and returns what each printed. A job is what the text says only if its output matches. */
function checkJobs(
	commands: readonly string[],
	run: (text: string) => string,
	expected: readonly (readonly [begin: string, printed: RegExp])[],
): void {
	assert.deepEqual(
		commands.filter((command, i) => !command.startsWith(expected[i]?.[0] ?? "\n")),
		[],
	);
	assert.equal(commands.length, expected.length);
	const printed = run(commands.map((command) => `${command}\necho "== end"\n`).join("")).split("== end\n");
	for (const [i, [begin, pattern]] of expected.entries()) assert.match(printed[i] ?? "", pattern, begin);
}

test("each everyday job of root in the README does what the table says", { needs }, () => {
	const container = `unshare --mount --propagation private sh -c ': > /mnt/ready; exec sleep 1000' &
pid=$!
trap 'kill $pid' EXIT
until [ -e /mnt/ready ]; do sleep 0.05; done
`;
	const look = (text: string) =>
		text
			.replaceAll("4711", "$pid")
			// What this kernel does not show is on standard error.
			.replace("userns ls\n", "userns ls 2>/dev/null\n")
			.replace(/ (--read-only|33:33) \/srv\/data \/mnt\/data\n/g, "$&stat -c 'seen %u' /mnt/data/file\n");
	checkJobs(jobsOfRoot, (text) => asRoot(container + look(text)), [
		["userns supports", /: yes, /],
		["userns mount --map 0:", /^\/srv\/data is mounted on \/mnt\/data\n[\s\S]*\nseen 2100000000\n$/],
		["userns mounts", /^\/mnt\/data +tmpfs +uid, gid +0–65535 +2100000000–2100065535 +65536$/m],
		["userns explain --in", /^uid +0 +0 +0 +0$/m],
		["userns umount /mnt", /unmounted from \/mnt\/data\n$/],
		["userns mount --owner 33:33 /srv", /^\/srv\/data is mounted on \/mnt\/data\n[\s\S]*\nseen 33\n$/],
		["userns umount /mnt", /unmounted from \/mnt\/data\n$/],
		["userns mount --owner 0:0", /mounted on \/mnt\/data in \d+\n/],
		["userns mounts --pid", /^\/mnt\/data +tmpfs +uid, gid +0 +0 +1$/m],
		["userns umount --into", /unmounted from \/mnt\/data in \d+\n$/],
		["userns mount --owner 33:33", /^\/srv\/data of \d+ is mounted on \/mnt\/data\n[\s\S]* 0 +33 +1\n$/],
		["userns umount /mnt", /unmounted from \/mnt\/data\n$/],
		["userns create", /is pinned at \/run\/userns-a\n/],
		["userns show", /^uid, gid +0–65535 +2100000000–2100065535 +65536$/m],
		["userns exec --in", /^uid=33/],
		["userns ls", /^.─\d+ +0 +0 +0:2100000000:65536 +mount \/run\/userns-a( \+\d+)?$/m],
		["userns mounts --pinned", /^path +inode\n\/run\/userns-a +\d+\n$/],
		["userns umount /run", /user namespace unmounted from \/run\/userns-a\n$/],
		["userns map draw", /inside \(on disk\)/],
	]);
});

test("each everyday job of an ordinary user in the README does what the table says", {
	needs: ["linux", "ordinary"],
}, () => {
	checkJobs(jobsOfUsers, (text) => asOrdinary(text, "echo root is $(id -u)\n"), [
		[
			"userns doctor",
			/^ok +user namespaces: .*\nok +programs inside: .*\nok +many IDs: .*\nmissing +ID-mapped mounts: .*\n +fix: /,
		],
		["userns exec --map auto -- id", /^uid=0/],
		["userns exec --map auto --unshare", /^root is 0\n$/],
		["userns exec --map keep-id", /^uid=[1-9]/],
		["userns explain", /^uid +0 +0 +0 +0$/m],
		["userns show", /^inode +\d+\n/],
		["userns map convert", /^both 2100000000-2100065535 0-65535\n$/],
		["userns map translate", /^2100000033\n$/],
		["userns map check", /^valid, read as colon\n/],
		["userns mounts --all --json", /^\[\n {2}\{\n/],
		["userns completion", /^# The completions of userns for bash/],
	]);
});
