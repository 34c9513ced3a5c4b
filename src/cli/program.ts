import { readFileSync } from "node:fs";
import { Command, type ErrorOptions, type ParseOptionsResult } from "commander";
import { refuseOptionAsValue, wrongUsage } from "./wrong-usage.ts";

/** The module of a command. It is imported only when its command is called, so that every command starts fast. */
export interface CommandModule {
	define(command: Command): void;
	/** The exit status of a failure, if the command has statuses of its own. `words` are those after the command's name. */
	statusOf?(error: unknown, words: readonly string[]): number | undefined;
}

interface Entry {
	summary: string;
	load: () => Promise<CommandModule>;
}

export const commands: Readonly<Record<string, Entry>> = {
	mount: {
		summary: "create an ID-mapped mount, which shows files with other owners",
		load: () => import("./mount.ts"),
	},
	overlay: {
		summary: "create an overlay of ID-mapped directories",
		load: () => import("./overlay.ts"),
	},
	umount: { summary: "unmount an ID-mapped mount or a pinned namespace", load: () => import("./umount.ts") },
	mounts: { summary: "list ID-mapped mounts with their maps", load: () => import("./mounts.ts") },
	supports: { summary: "check whether a path can be ID-mapped", load: () => import("./supports.ts") },
	doctor: {
		summary: "check what this machine can do, with the fix for what it cannot",
		load: () => import("./doctor.ts"),
	},
	explain: {
		summary: "explain the owner of a file, and what a process may do with it",
		load: () => import("./explain.ts"),
	},
	create: { summary: "create a user namespace and pin it at a path", load: () => import("./create.ts") },
	exec: { summary: "run a program in a user namespace", load: () => import("./exec.ts") },
	map: { summary: "convert, combine, check and draw mappings", load: () => import("./map.ts") },
	ls: { summary: "list user namespaces, and what holds each", load: () => import("./ls.ts") },
	show: { summary: "show the user namespace of a process or at a path", load: () => import("./show.ts") },
	build: { summary: "compile the native add-on of this package", load: () => import("./build.ts") },
	completion: { summary: "print the completions for a shell", load: () => import("./completion.ts") },
	version: { summary: "print the versions of userns, Linux and Node.js", load: () => import("./version.ts") },
};

const HELP = `
Example:
  userns mount --map 0:2100000000:65536 /srv/data /mnt/data

See "userns COMMAND --help" for the options of a command.

With --json, a command prints one JSON value, or {"error": …} if it fails. An
error is printed as two lines on standard error: the message, and a hint. The
exit status is 0 for success, 1 for a failure, 2 for wrong usage, and 141 if the
reader of standard output has closed the pipe. "supports", "doctor", "map check"
and "map translate" answer a question: 0 is yes, 1 is no, and 2 is a failure or
wrong usage. "userns exec" exits with the status of the program.`;

/** The version of this package. */
export function version(): string {
	const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
	return (JSON.parse(text) as { version: string }).version;
}

/** A command whose options have no prototype. src/options.ts does the same for the library. */
class OwnCommand extends Command {
	/** The words of the call that belong to this command. */
	#words: readonly string[] = [];

	override createCommand(name?: string): Command {
		return new OwnCommand(name);
	}

	override opts<T extends Record<string, unknown>>(): T {
		return Object.assign(Object.create(null), super.opts<T>());
	}

	/** Commander calls this for options that conflict. */
	override getOptionValue(key: string): unknown {
		return this.opts()[key];
	}

	/** Commander calls this once, with the words that belong to this command. */
	override parseOptions(words: string[]): ParseOptionsResult {
		this.#words = words;
		refuseOptionAsValue(this, words);
		return super.parseOptions(words);
	}

	/** Commander calls this for every wrong argument. */
	override error(message: string, options?: ErrorOptions): never {
		throw wrongUsage(this, message, options?.code, this.#words);
	}
}

/** The command with the summary of each of its commands, and with the definitions of those that were loaded. */
export function createProgram(loaded: ReadonlyMap<string, CommandModule>): Command {
	const program = new OwnCommand("userns")
		.description("Create user namespaces and ID-mapped mounts on Linux.")
		.version(version(), "-V, --version", "print the version")
		.helpOption("-h, --help", "print this help")
		.helpCommand("help [command]", "print the help of a command")
		.enablePositionalOptions()
		.showHelpAfterError(false)
		.exitOverride()
		.addHelpText("after", HELP);
	for (const [name, { summary }] of Object.entries(commands)) {
		const command = program
			.command(name)
			.summary(summary)
			.description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`);
		loaded.get(name)?.define(command);
	}
	return program;
}

/** The command with the definitions of all commands, for completions and manual pages. */
export async function createWholeProgram(): Promise<Command> {
	const loaded = new Map<string, CommandModule>();
	for (const [name, { load }] of Object.entries(commands)) loaded.set(name, await load());
	return createProgram(loaded);
}
