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

const [install = "", asRoot = "", withoutRoot = "", inContainer = ""] = blocks("sh");
const [example = "", rootless = ""] = blocks("ts");

/** The example as a script of `ask`, which has the package as `userns`. */
function script(code: string): string {
	return code.replace(/import (\{.*\}) from "userns";/, "const $1 = userns;");
}

test("every code block of the README is one that these tests run", () => {
	assert.equal(blocks("sh").length, 4);
	assert.equal(blocks("ts").length, 2);
	assert.equal(README.match(/^```/gm)?.length, 12);
});

test("the README's commands for a clone are scripts of package.json, or npm link", () => {
	const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
	for (const [, name = ""] of install.matchAll(/^npm (\w+)/gm))
		assert.ok(name === "link" || Object.hasOwn(scripts, name), name);
	assert.match(install, /^npm start .*\nnpm test .*\nnpm link /);
	for (const [, name = ""] of README.matchAll(/`npm run ([\w:]+)`/g))
		assert.ok(Object.hasOwn(scripts, name), name);
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

/** Defines the command for a shell, as an installed package has it. */
const COMMAND = `set -e
userns() { ${runFile(join(packageForAll(), "dist/src/cli/userns.cjs")).join(" ")} "$@"; }
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

const needs = ["linux", "root", "mounts", "tool:unshare"] as const;

test("the README's commands for root run in their order", { needs }, () => {
	const look = asRoot.replace("userns mounts\n", "$&stat -c '%u %n' /mnt/data/file\n");
	const printed = shell(look);
	assert.match(printed, /^2100000000 \/mnt\/data\/file$/m);
	assert.match(printed, /^uid=33/m);
	assert.match(printed, /user namespace unmounted from \/run\/userns-a\n$/);
});

test("the README's commands for a container run in their order", { needs }, () => {
	const container = `unshare --mount --propagation private sh -c ': > /mnt/ready; exec sleep 1000' &
pid=$!
trap 'kill $pid' EXIT
until [ -e /mnt/ready ]; do sleep 0.05; done
`;
	const printed = shell(container + inContainer.replaceAll("4711", "$pid"));
	assert.match(printed, /mounted on \/mnt\/data in \d+\n/);
	assert.match(printed, /^\/mnt\/data +tmpfs +uid, gid +1000 +2100000000 +1$/m);
	assert.match(printed, /inside \(on disk\)/);
});

test("the README's commands without root run in their order", { needs: ["linux", "ordinary"] }, () => {
	const { status, stdout, stderr } = askOrdinary<{ status: number; stdout: string; stderr: string }>(`
		import { spawnSync } from "node:child_process";
		const { status, stdout, stderr } = spawnSync("sh", ["-c", ${JSON.stringify(COMMAND + withoutRoot)}], { encoding: "utf8" });
		console.log(JSON.stringify({ status, stdout, stderr }));`);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	assert.match(stdout, /^uid=0.*\nmounted\nboth 2100000000-2100065535 0-65535\n$/);
});
