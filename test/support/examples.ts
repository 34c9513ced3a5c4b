import { cpSync } from "node:fs";
import { join } from "node:path";
import { packageForAll, root } from "./child.ts";
import { type Ended, runToEnd } from "./private-mounts.ts";

/** The command of an example in the package that every user can read, in which "userns" is the package itself. */
export function exampleCommand(name: string, ...args: string[]): string[] {
	const folder = join(packageForAll(), "dist/examples");
	cpSync(join(root, "dist/examples"), folder, { recursive: true });
	return [process.execPath, join(folder, `${name}.js`), ...args];
}

/** Runs an example to its end, behind programs such as those of `privateMounts`. */
export function runExample(prefix: readonly string[], name: string, ...args: string[]): Ended {
	return runToEnd([...prefix, ...exampleCommand(name, ...args)]);
}
