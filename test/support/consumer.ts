import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root, sh } from "./child.ts";
import { packed } from "./packed.ts";

/**
 * The folder into which scripts/test-package.mjs has installed the compilers, bundlers and test runners of the long form.
 * Undefined in the short form.
 */
export const toolsFolder: string | undefined = process.env.USERNS_PACKAGE_TOOLS;

/** The path of a file of an installed package: of the long form's packages, or of the project's own. */
export function toolFile(path: string, own = false): string {
	return join(own ? root : (toolsFolder ?? root), "node_modules", path);
}

/** Runs `work` in a project that has the packed package in node_modules, and these files. */
export function withConsumer(files: Record<string, string>, work: (folder: string) => void): void {
	const folder = mkdtempSync(join(tmpdir(), "userns-consumer-"));
	try {
		const installed = join(folder, "node_modules/userns");
		mkdirSync(installed, { recursive: true });
		sh("tar", "-xzf", packed().tarball, "-C", installed, "--strip-components=1");
		for (const [name, text] of Object.entries({ "package.json": '{ "type": "module" }', ...files })) {
			mkdirSync(dirname(join(folder, name)), { recursive: true });
			writeFileSync(join(folder, name), text);
		}
		work(folder);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** Copies an installed package into the project, under this name. */
export function copyTool(folder: string, from: string, name: string): void {
	cpSync(from, join(folder, "node_modules", name), { recursive: true, dereference: true });
}

/** Runs Node in a folder. Fails with all that it has printed, unless it ends with 0. Returns its standard output. */
export function runNode(folder: string, ...args: string[]): string {
	const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
	assert.equal(status, 0, `${args.join(" ")}\n${stdout}${stderr}`);
	return stdout;
}
