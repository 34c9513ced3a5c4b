// What a clean clone needs before anything else runs: the packages of package-lock.json. Node's own modules only.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a program in the project's root with our streams; ends this process with its status when it fails. */
export function run(command, args, options = {}) {
	const result = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
	if (result.error) {
		console.error(`${command}: ${result.error.message}`);
		process.exit(1);
	}
	if (result.status !== 0) process.exit(result.status ?? 1);
	return result;
}

export function installPackages() {
	const major = Number(process.versions.node.split(".")[0]);
	if (major < 20) {
		console.error(`userns needs Node.js 20 or later; this is ${process.version}.`);
		process.exit(1);
	}
	const installed = `${root}node_modules/.package-lock.json`;
	const wanted = `${root}package-lock.json`;
	if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return;
	run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
}
