import type { Command } from "commander";
import { supports } from "../index.ts";
import { FAILED, print } from "./output.ts";

export function define(command: Command): void {
	command
		.argument("<path>", "a directory or file")
		.option("--json", "print the result as JSON")
		.addHelpText(
			"after",
			`
Asks the kernel, by mapping a copy of the path's mount that nobody sees. The
exit status is 0 for yes, 1 for no.`,
		)
		.action(ask);
}

async function ask(path: string, { json }: { json?: boolean }): Promise<void> {
	const answer = await supports(path);
	const { supported, fsType, mountPoint, reason, hint } = answer;
	if (!supported) process.exitCode = FAILED;
	await print(json, { path, ...answer }, () => [
		`${path} (${fsType} at ${mountPoint}): ${supported ? "yes" : "no"}, ${reason}`,
		...(hint === undefined ? [] : [`hint: ${hint}`]),
	]);
}
