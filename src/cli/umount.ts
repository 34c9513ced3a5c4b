import type { Command } from "commander";
import { unmount } from "../index.ts";
import { print } from "./output.ts";

interface Options {
	recursive?: boolean;
	into?: string;
	json?: boolean;
}

export function define(command: Command): void {
	command
		.argument("<path>", "an ID-mapped mount, or a user namespace that create --at made")
		.option("--recursive", "also what is mounted on it or below it")
		.option("--into <pid|path>", "in a container: its pid, or its /proc/PID/ns/mnt")
		.option("--json", "print the result as JSON")
		.addHelpText("after", "\nRefuses anything else at the path.")
		.action((path: string, { recursive = false, into, json }: Options) => {
			const inside = into === undefined ? {} : { into: /^\d+$/.test(into) ? Number(into) : into };
			const gone = unmount(path, { recursive, ...inside });
			const done = `${gone.kind} unmounted from ${path}${into === undefined ? "" : ` in ${into}`}`;
			return print(json, gone, () => [done], done);
		});
}
