import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./child.ts";
import { packed } from "./packed.ts";

/** A program of a user: gets a namespace from the cache and runs id(1) in it, which prints 0. Prints an error and its hint instead. */
export const PROGRAM = `
import { Handles } from "userns";
try {
	const handles = new Handles();
	const namespace = handles.getSync({
		uidMappings: [{ containerID: 0, hostID: process.geteuid(), size: 1 }],
		gidMappings: [{ containerID: 0, hostID: process.getegid(), size: 1 }],
	});
	namespace.spawn("id", ["-u"], { stdio: "inherit" });
	namespace.close();
	handles.release();
} catch ({ code, message, hint }) {
	console.log(code + "\\n" + message + "\\n" + hint);
}
`;

/** Runs `work` with a new folder that has the packed package in node_modules, and these files. */
export function withConsumer(files: Record<string, string>, work: (folder: string) => void): void {
	const base = mkdtempSync(join(tmpdir(), "userns-consumer-"));
	try {
		const folder = join(base, "project");
		const installed = join(folder, "node_modules/userns");
		mkdirSync(installed, { recursive: true });
		const tar = spawnSync("tar", ["-xzf", packed().tarball, "--strip-components=1", "-C", installed]);
		assert.equal(tar.status, 0, String(tar.stderr));
		const all = { "package.json": '{ "private": true, "type": "module" }', ...files };
		for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text);
		work(folder);
	} finally {
		rmSync(base, { recursive: true });
	}
}

/** The folder of what the long form installs. */
const CACHE =
	process.env.USERNS_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "userns-package");

/**
 * A folder whose node_modules has these packages, given as NAME@VERSION. Installs them at the first call, and keeps them. Without
 * packages it is the project, which has those of the short form.
 */
export function withPackages(name: string, packages: readonly string[]): string {
	if (packages.length === 0) return root;
	const versions = packages.map((text) => text.replace(/^.*@/, "")).join("-");
	const made = join(CACHE, `${name}-${versions}`);
	if (existsSync(made)) return made;
	mkdirSync(CACHE, { recursive: true });
	const fresh = mkdtempSync(join(CACHE, "new-"));
	try {
		writeFileSync(join(fresh, "package.json"), '{ "private": true }');
		// Without scripts, because some of them download a program.
		const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--save-exact"];
		const npm = spawnSync("npm", ["install", ...flags, ...packages], { cwd: fresh, encoding: "utf8" });
		assert.equal(npm.status, 0, npm.stderr);
		renameSync(fresh, made);
	} finally {
		rmSync(fresh, { recursive: true, force: true });
	}
	return made;
}
