#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import {
	FAILED,
	isWrongUsage,
	outputStatus,
	printable,
	printErrors,
	printFailure,
	printText,
	WRONG_USAGE,
} from "./output.ts";

/** A command's file: imported only when its command is called, so that each starts as fast as it can. */
export interface CommandModule {
	define(command: Command): void;
	/** The exit status for wrong usage, where it is not the one that all commands have. */
	usageStatus?: number;
}

interface Entry {
	summary: string;
	load: () => Promise<CommandModule>;
}

const commands: Record<string, Entry> = {
	mount: { summary: "show files under other owners", load: () => import("./mount.ts") },
	umount: {
		summary: "unmount a mount of this package or a pinned namespace",
		load: () => import("./umount.ts"),
	},
	mounts: { summary: "list ID-mapped mounts with their maps", load: () => import("./mounts.ts") },
	supports: { summary: "tell whether files can be shown so", load: () => import("./supports.ts") },
	create: { summary: "make a user namespace and keep it at a path", load: () => import("./create.ts") },
	exec: { summary: "run a program in a user namespace", load: () => import("./exec.ts") },
	map: { summary: "convert, combine, check and draw mappings", load: () => import("./map.ts") },
	show: { summary: "show the mapping of a process or namespace", load: () => import("./show.ts") },
};

function version(): string {
	const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
	return (JSON.parse(text) as { version: string }).version;
}

let loaded: CommandModule | undefined;

/** Removes the prototype of a command's options, as src/options.ts does for the library's. */
class OwnCommand extends Command {
	override createCommand(name?: string): Command {
		return new OwnCommand(name);
	}

	override opts<T extends Record<string, unknown>>(): T {
		return Object.assign(Object.create(null), super.opts<T>());
	}

	/** Commander calls this for a required option. */
	override getOptionValue(key: string): unknown {
		return this.opts()[key];
	}
}
/**
 * The output of the library that reads the arguments, such as a help page. It is written at the end, where a write
 * error can be reported.
 */
const said = { out: "", errors: "" };

async function main(args: readonly string[]): Promise<void> {
	const program = new OwnCommand("userns")
		.description("Linux user namespaces and ID-mapped mounts: other owners, nothing chowned.")
		.version(version(), "-V, --version", "print the version")
		.helpOption("-h, --help", "print this help")
		.helpCommand("help [command]", "print the help of a command")
		.enablePositionalOptions()
		.showHelpAfterError(false)
		.exitOverride()
		.configureOutput({
			writeOut: (text) => {
				said.out += text;
			},
			writeErr: (text) => {
				said.errors += text;
			},
			outputError: (text, write) => {
				const line = printable(
					text
						.trimEnd()
						.replace(/^error: /, "userns: ")
						.replace("\n(", " ("),
				);
				write(`${line}\nhint: See "userns --help" or "userns COMMAND --help".\n`);
			},
		});
	const called = args.find((arg) => !arg.startsWith("-"));
	for (const [name, { summary, load }] of Object.entries(commands)) {
		const command = program
			.command(name)
			.summary(summary)
			.description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`);
		if (name !== called) continue;
		loaded = await load();
		loaded.define(command);
	}
	if (args.length === 0) {
		program.outputHelp({ error: true });
		process.exitCode = WRONG_USAGE;
		return;
	}
	await program.parseAsync(args, { from: "user" });
}

/** The exit status of a command that ended with an error. */
async function statusOf(error: unknown, args: readonly string[]): Promise<number> {
	if (error instanceof CommanderError) {
		return error.exitCode === 0 ? 0 : (loaded?.usageStatus ?? WRONG_USAGE);
	}
	const status = await outputStatus(error);
	if (status !== undefined) return status;
	await printFailure(error, args.includes("--json"));
	return isWrongUsage(error) ? WRONG_USAGE : FAILED;
}

/** Not awaited at the top of the module: what is bundled for the command has no such thing. */
async function start(args: readonly string[]): Promise<void> {
	try {
		await main(args);
	} catch (error) {
		process.exitCode = await statusOf(error, args);
	}
	await printErrors(said.errors);
	try {
		await printText(said.out);
	} catch (error) {
		process.exitCode = await statusOf(error, args);
	}
}

void start(process.argv.slice(2));
