import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask, packageForAll, root } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { askOrdinary } from "../support/ordinary.ts";
import { runFile } from "../support/runtime.ts";
import { test } from "../support/test.ts";

const README = readFileSync(join(root, "README.md"), "utf8");

/** The code blocks of a language, in order. */
function blocks(language: string): string[] {
	return [...README.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, "g"))].map(
		([, code = ""]) => code,
	);
}

const [install = "", first = "", ownTmpfs = ""] = blocks("sh");
const [example = "", rootless = ""] = blocks("ts");

/** The jobs of the table with that heading, each with its command. */
function jobs(heading: string): [job: string, command: string][] {
	const table =
		README.split(new RegExp(`^\\| ${heading} +\\| command +\\|\n.*\n`, "m"))[1]?.split("\n\n")[0] ?? "";
	return table.split("\n").map((row) => {
		const [, job = "", command = ""] = /^\| (.*?) +\| `(.*)` +\|$/.exec(row) ?? assert.fail(row);
		return [job, command];
	});
}

/** The example as a script of `ask`, which has the package as `userns`. */
function script(code: string): string {
	return code.replace(/import (\{.*\}) from "userns";/, "const $1 = userns;");
}

test("every code block of the README is one that these tests run", () => {
	assert.equal(blocks("sh").length, 3);
	assert.equal(blocks("ts").length, 2);
	assert.equal(README.match(/^```/gm)?.length, 10);
});

test("the README installs the package by its name, and names scripts that package.json has", () => {
	const { name, scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
	assert.equal(install, `npm install ${name}\n`);
	for (const [, script = ""] of README.matchAll(/`npm (?:run )?([\w:]+)`/g))
		assert.ok(Object.hasOwn(scripts, script), script);
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

test("the README's example without root runs, and prints what its comment says", {
	needs: ["linux", "ordinary"],
}, () => {
	assert.equal(askOrdinary<number>(script(rootless)), 0);
});

/** Puts the command into PATH, as an installed package has it. A process of another user namespace finds it there too. */
const COMMAND = `set -e
bin=$(mktemp -d)
trap 'rm -r "$bin"' EXIT
chmod 755 "$bin"
printf '#!/bin/sh\\nexec %s "$@"\\n' '${runFile(join(packageForAll(), "dist/src/cli/userns.cjs"))
	.map((word) => `"${word}"`)
	.join(" ")}' >"$bin/userns"
printf '#!/bin/sh\\nexec "$@"\\n' >"$bin/npx"
chmod 755 "$bin/userns" "$bin/npx"
PATH=$bin:$PATH
`;

/** Runs a block as root in its own mount namespace, with the files that the README speaks of. */
function shell(block: string): string {
	const setUp = `${COMMAND}for each in /srv /mnt /run; do mount -t tmpfs -o mode=755 tmpfs $each; done
mkdir /srv/data /mnt/data
touch /srv/data/file
`;
	const unshare = ["--mount", "--propagation", "private", "sh", "-c", setUp + block];
	const { status, stdout, stderr } = spawnSync("unshare", unshare, { encoding: "utf8" });
	assert.equal(stderr, "");
	assert.equal(status, 0);
	return stdout;
}

/** Runs a block as an ordinary user with subordinate IDs. */
function ordinaryShell(block: string): string {
	const { status, stdout, stderr } = askOrdinary<{ status: number; stdout: string; stderr: string }>(`
		import { spawnSync } from "node:child_process";
		const { status, stdout, stderr } = spawnSync("sh", ["-c", ${JSON.stringify(COMMAND + block)}], { encoding: "utf8" });
		console.log(JSON.stringify({ status, stdout, stderr }));`);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	return stdout;
}

/** The commands of jobs, each with a line that names its job before its output. */
function commandsOf(list: readonly [string, string][]): string {
	return list.map(([job, command]) => `echo "== ${job}"\n${command}\n`).join("");
}

/** What each job printed. */
function printedBy(text: string): Map<string, string> {
	const parts = text.split(/^== /m).slice(1);
	return new Map(
		parts.map((part) => [part.slice(0, part.indexOf("\n")), part.slice(part.indexOf("\n") + 1)]),
	);
}

const needs = ["linux", "root", "mounts", "tool:unshare"] as const;

test("the README's first example prints what the README says, as root", { needs }, () => {
	assert.equal(shell(first), "0\nmounted\n");
});

test("the README's first example prints the same as an ordinary user", {
	needs: ["linux", "ordinary"],
}, () => {
	assert.equal(ordinaryShell(first), "0\nmounted\n");
});

test("an ordinary user maps an own tmpfs, as the README shows", {
	needs: ["linux", "ordinary", "linux:6.3"],
}, () => {
	assert.match(
		ordinaryShell(ownTmpfs),
		/\n\/mnt\/data:\n.*\n\S+ 1 0 0 .* file\n\n\/mnt\/view:\n.*\n\S+ 1 1000 1000 .* file\n$/,
	);
});

test("the README's jobs for root run in their order", { needs }, () => {
	const container = `unshare --mount --propagation private sh -c ': > /mnt/ready; exec sleep 1000' &
pid=$!
trap 'kill $pid; rm -r "$bin"' EXIT
until [ -e /mnt/ready ]; do sleep 0.05; done
`;
	const text = commandsOf(jobs("as root"))
		.replaceAll("4711", "$pid")
		.replace("userns mounts\n", "$&stat -c '%u %n' /mnt/data/file\n");
	const printed = printedBy(shell(container + text));
	const expected: [string, RegExp][] = [
		["check whether files", /^\/srv\/data \(tmpfs at \/srv\): yes/],
		["show root's files", /^\/srv\/data is mounted on \/mnt\/data\n/],
		[
			"list the mounts that",
			/\n\/mnt\/data +tmpfs +uid, gid +0–65535 [\s\S]*\n2100000000 \/mnt\/data\/file\n$/,
		],
		["unmount", /^ID-mapped mount unmounted from \/mnt\/data\n$/],
		["mount in a running", /^\/srv\/data is mounted on \/mnt\/data in \d+\n/],
		["list the mounts of", /^\/mnt\/data +tmpfs +uid, gid +1000 +2100000000 +1$/m],
		["unmount in", /unmounted from \/mnt\/data in \d+\n$/],
		["show the user", /^inode +\d+\n/],
		["draw", /inside \(on disk\)/],
		["create", /is pinned at \/run\/userns-a\n/],
		["run a program", /^uid=33/],
		["remove", /^user namespace unmounted from \/run\/userns-a\n$/],
	];
	assertPrinted(printed, expected);
});

test("the README's jobs for any user run", { needs: ["linux", "ordinary"] }, () => {
	const printed = printedBy(ordinaryShell(commandsOf(jobs("as any user"))));
	assertPrinted(printed, [
		["run a program", /^uid=0/],
		["give a program", /^ +PID[\s\S]* ps\n$/],
		["find", /^2100000033\n$/],
		["write", /^both 2100000000-2100065535 0-65535\n$/],
		["check", /^valid\n/],
		["complete", /^# The completions of userns for bash/],
	]);
});

/** Compares what each job printed, in order; each is given by the first words of the job. */
function assertPrinted(printed: Map<string, string>, expected: readonly [string, RegExp][]): void {
	assert.equal(printed.size, expected.length);
	for (const [i, [job, text]] of [...printed].entries()) {
		assert.ok(job.startsWith(expected[i]?.[0] ?? "?"), job);
		assert.match(text, expected[i]?.[1] ?? /^$/, job);
	}
}
