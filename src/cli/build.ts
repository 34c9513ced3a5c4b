import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { FAILED } from "./output.ts";

const HELP = `
Example:
  userns build
compiles the native add-on of this package, in place. For a package in
node_modules, call "npx userns build" in the folder above.

The package contains the add-on for x64 and arm64, so this is needed only if
the file is lost or does not load. It needs a C compiler (CC, otherwise cc), the
headers of the C library, and write permission in the package's directory.`;

export function define(command: Command): void {
	command.addHelpText("after", HELP).action(build);
}

/** The script prints the result, or the cause of the failure with a hint. */
function build(): void {
	const script = fileURLToPath(new URL("../../../scripts/build-native.mjs", import.meta.url));
	const { status } = spawnSync(process.execPath, [script, "--anew"], { stdio: "inherit" });
	if (status !== 0) process.exitCode = FAILED;
}
