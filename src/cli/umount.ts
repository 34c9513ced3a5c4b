import type { Command } from "commander";
import { unmount } from "../index.ts";
import { print } from "./output.ts";

export function define(command: Command): void {
	command
		.argument("<path>", "an ID-mapped mount, or a user namespace that create --at made")
		.option("--recursive", "also what is mounted on it or below it")
		.option("--json", "print the result as JSON")
		.addHelpText("after", "\nRefuses anything else at the path.")
		.action((path: string, { recursive = false, json }: { recursive?: boolean; json?: boolean }) => {
			const gone = unmount(path, { recursive });
			print(json, gone, () => `${gone.kind} unmounted from ${path}`);
		});
}
