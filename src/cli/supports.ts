import type { Command } from "commander";
import { type PathOptions, supports } from "../index.ts";
import { addPathOptions, PATH_HELP, pathOptions } from "./namespace-argument.ts";
import { FAILED, print } from "./output.ts";

export function define(command: Command): void {
	addPathOptions(command.argument("<path>", "a directory or file"))
		.option("--json", "print the result as JSON")
		.addHelpText(
			"after",
			`
Asks the kernel, by mapping a copy of the path's mount that nobody sees. The
exit status is 0 for yes, 1 for no.${PATH_HELP}`,
		)
		.action(ask);
}

/** Passes `options` on whole, because the rest of a destructuring would have a prototype again. */
async function ask(path: string, options: PathOptions & { json?: boolean }): Promise<void> {
	const { json } = options;
	const answer = await supports(path, pathOptions(options));
	const { supported, fsType, mountPoint, reason, hint } = answer;
	if (!supported) process.exitCode = FAILED;
	await print(json, { path, ...answer }, () => [
		`${path} (${fsType} at ${mountPoint}): ${supported ? "yes" : "no"}, ${reason}`,
		...(hint === undefined ? [] : [`hint: ${hint}`]),
	]);
}
