import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, sh } from "../support/child.ts";
import { test } from "../support/test.ts";

/*
 * A clean clone has nothing that was built. The long form only, because each installation takes a minute and needs a
 * network (npm run test:package).
 */

const needs = ["linux", "long", "tool:git", "tool:cc"] as const;

function withClone(work: (clone: string, project: string) => void): void {
	const folder = mkdtempSync(join(tmpdir(), "userns-clone-"));
	try {
		const [clone, project] = [join(folder, "clone"), join(folder, "project")];
		sh("git", "clone", "--quiet", root, clone);
		mkdirSync(project);
		writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }');
		work(clone, project);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

function install(project: string, from: string, env: NodeJS.ProcessEnv = {}): ReturnType<typeof spawnSync> {
	const args = ["install", "--no-audit", "--no-fund", from];
	return spawnSync("npm", args, { cwd: project, env: { ...process.env, ...env }, encoding: "utf8" });
}

const USE = 'console.log((await import("userns")).UserNamespace.createSync("0:0:1").inode > 0n)';

test("npm pack of a clean clone builds the package first", { needs, timeout: 600_000 }, () =>
	withClone((clone, project) => {
		sh("npm", "pack", "--prefix", clone, "--pack-destination", project, clone);
		const tarball = readdirSync(project).find((name) => name.endsWith(".tgz")) ?? "";
		assert.equal(install(project, join(project, tarball)).status, 0);
		assert.equal(
			spawnSync(process.execPath, ["--input-type=module", "-e", USE], { cwd: project, encoding: "utf8" })
				.stdout,
			"true\n",
		);
		assert.deepEqual(readdirSync(join(project, "node_modules/userns/prebuilds")).sort(), [
			"userns.linux-arm64.node",
			"userns.linux-x64.node",
		]);
	}),
);

test(
	"an installation from git builds the package first, or fails with the reason",
	{ needs, timeout: 600_000 },
	() =>
		withClone((clone, project) => {
			const without = install(project, `git+file://${clone}`, { CC: "no-such-compiler" });
			assert.notEqual(without.status, 0);
			assert.match(String(without.stderr), /there is no working C compiler: "no-such-compiler --version"/);
			assert.equal(existsSync(join(project, "node_modules/userns")), false);
			const { status, stderr } = install(project, `git+file://${clone}`);
			assert.equal(status, 0, String(stderr));
			assert.equal(
				spawnSync(process.execPath, ["--input-type=module", "-e", USE], { cwd: project, encoding: "utf8" })
					.stdout,
				"true\n",
			);
		}),
);
