import type { Command } from "commander";
import { type PathOptions, supports } from "../index.ts";
import { commandWords } from "./command-words.ts";
import { addPathOptions, PATH_HELP, pathOptions } from "./namespace-argument.ts";
import { NO, NO_ANSWER, print, STATUS_HELP } from "./output.ts";

const HELP = `
Example:
  userns supports /srv/data
prints "yes" if "userns mount" can ID-map /srv/data, otherwise "no", each with
the reason.
${STATUS_HELP}

To find out, the command ID-maps a detached copy of the path's mount, which no
other process can see, and drops the copy.
${PATH_HELP}`;

export function define(command: Command): void {
	addPathOptions(command.argument("<path>", "a directory or file"))
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action(ask);
}

export function statusOf(): number {
	return NO_ANSWER;
}

/** Passes the whole `options` object on, because the rest of a destructuring would have a prototype again. */
async function ask(path: string, options: PathOptions & { json?: boolean }): Promise<void> {
	const { json } = options;
	const found = await supports(path, pathOptions(options));
	const { supported, fsType, mountPoint } = found;
	const where = fsType === "unknown" ? mountPoint : `${fsType} at ${mountPoint}`;
	const reason = commandWords(found.reason);
	const hint = found.hint === undefined ? {} : { hint: commandWords(found.hint) };
	if (!supported) process.exitCode = NO;
	await print(json, { path, ...found, reason, ...hint }, () => [
		`${path} (${where}): ${supported ? "yes" : "no"}, ${reason}`,
		...Object.values(hint).map((text) => `hint: ${text}`),
	]);
}
