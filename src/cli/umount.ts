import type { Command } from "commander";
import { type PathOptions, unmountAsync } from "../index.ts";
import { addPathOptions, containerOf, PATH_HELP, pathOptions } from "./namespace-argument.ts";
import { print } from "./output.ts";

interface Options extends PathOptions {
	recursive?: boolean;
	into?: string;
	json?: boolean;
}

const HELP = `
Example:
  userns umount /mnt/data
unmounts a mount that "userns mount" created at /mnt/data.

The command unmounts every ID-mapped mount, every overlay whose source is
"userns" and every pinned user namespace, whichever program made it. One that
was made with "userns mount --unmap" needs its record in /run/userns, which is
written for root only. The command refuses all others: use umount(8).

A mount with other mounts below it, such as one that was made with "userns mount
--recursive", is unmounted only with --recursive.
${PATH_HELP}`;

export function define(command: Command): void {
	command
		.argument("<path>", "the target of a mount, or the path of a pinned namespace")
		.option("--recursive", "also unmount the mounts on the path and below it")
		.option("--into <pid|path>", "unmount in a container: its pid or /proc/PID/ns/mnt");
	addPathOptions(command)
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action(umount);
}

/** Passes the whole `options` object on, because the rest of a destructuring would have a prototype again. */
async function umount(path: string, options: Options): Promise<void> {
	const { recursive = false, into, json } = options;
	const gone = await unmountAsync(path, { recursive, ...containerOf(into), ...pathOptions(options) });
	const where = into === undefined ? "" : ` in ${into}`;
	const done = `${gone.kind.replace("idmapped", "ID-mapped")} unmounted from ${path}${where}`;
	await print(json, gone, () => [done], done);
}
