// Installs the packages of package-lock.json. Imports only modules of Node, because it runs in a clean clone.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a program in the root of the project, with the streams of this process. Ends this process with its status if it fails. */
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
	const [major, minor] = process.versions.node.split(".").map(Number);
	const leastMinor = { 20: 19, 22: 12 }[major] ?? (major > 22 ? 0 : Number.POSITIVE_INFINITY);
	if (minor < leastMinor) {
		console.error(`userns needs Node.js 20.19 or later, or 22.12 or later; this is ${process.version}.`);
		process.exit(1);
	}
	const installed = `${root}node_modules/.package-lock.json`;
	const wanted = `${root}package-lock.json`;
	if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return;
	// Without scripts, because the script "prepare" builds the package, which comes next anyway.
	run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
}
