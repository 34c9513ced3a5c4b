#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { FAILED, printFailure, WRONG_USAGE } from "./output.ts";

/** A command's file: imported only when its command is called, so that each starts as fast as it can. */
export interface CommandModule {
	define(command: Command): void;
}

const commands: Record<string, { summary: string; load: () => Promise<CommandModule> }> = {};

async function main(args: readonly string[]): Promise<void> {
	const program = new Command("userns")
		.description("Linux user namespaces and ID-mapped mounts: other owners, nothing chowned.")
		.enablePositionalOptions()
		.showHelpAfterError(false)
		.exitOverride()
		.configureOutput({
			outputError: (text, write) => {
				write(
					`${text.replace(/^error: /, "userns: ")}hint: See "userns --help" or "userns COMMAND --help".\n`,
				);
			},
		});
	const called = args.find((arg) => !arg.startsWith("-"));
	for (const [name, { summary, load }] of Object.entries(commands)) {
		const command = program.command(name).summary(summary).description(summary);
		if (name === called) (await load()).define(command);
	}
	if (args.length === 0) {
		program.outputHelp({ error: true });
		process.exitCode = WRONG_USAGE;
		return;
	}
	await program.parseAsync(args, { from: "user" });
}

const args = process.argv.slice(2);
try {
	await main(args);
} catch (error) {
	if (error instanceof CommanderError) {
		process.exitCode = error.exitCode === 0 ? 0 : WRONG_USAGE;
	} else {
		printFailure(error, args.includes("--json"));
		process.exitCode = FAILED;
	}
}
