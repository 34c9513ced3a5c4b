// Builds a clean clone: installs the packages, compiles the add-on and the TypeScript files, bundles the library and
// the command, and joins the declarations.
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { installPackages, root, run } from "./setup.mjs";

export async function build() {
	installPackages();
	if (process.platform === "linux") (await import("./build-native.mjs")).buildForAll();
	// Otherwise the compiled file of a test that was renamed would still run.
	rmSync(`${root}dist`, { recursive: true, force: true });
	run(process.execPath, [`${root}node_modules/typescript/bin/tsc`]);
	await (await import("./bundle.mjs")).bundle();
	(await import("./declarations.mjs")).joinDeclarations();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build();
