import { cpSync } from "node:fs";
import { join } from "node:path";
import { type Ended, runToEnd } from "./apart.ts";
import { packageForAll, root } from "./child.ts";

/** How to run an example, in the package that every user can read: there "userns" is the package itself. */
export function exampleCommand(name: string, ...args: string[]): string[] {
	const folder = join(packageForAll(), "dist/examples");
	cpSync(join(root, "dist/examples"), folder, { recursive: true });
	return [process.execPath, join(folder, `${name}.js`), ...args];
}

/** Runs an example to its end, behind programs such as those of `apart`. */
export function runExample(prefix: readonly string[], name: string, ...args: string[]): Ended {
	return runToEnd([...prefix, ...exampleCommand(name, ...args)]);
}
