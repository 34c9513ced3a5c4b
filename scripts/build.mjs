// Packages, compiled add-on, compiled TypeScript: from a clean clone to something that runs.
import { rmSync } from "node:fs";
import { installPackages, root, run } from "./setup.mjs";

export async function build() {
	installPackages();
	if (process.platform === "linux") await (await import("./build-native.mjs")).buildNative();
	// A file that was renamed must not go on running as a test from an old build.
	rmSync(`${root}dist`, { recursive: true, force: true });
	run(process.execPath, [`${root}node_modules/typescript/bin/tsc`]);
	await (await import("./bundle.mjs")).bundleCommand();
}

if (process.argv[1] === new URL(import.meta.url).pathname) await build();
