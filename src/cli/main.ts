import { readFileSync } from "node:fs";
import { Command, CommanderError, type ErrorOptions } from "commander";
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

/** The module of a command. It is imported only when its command is called, so that every command starts fast. */
export interface CommandModule {
	define(command: Command): void;
	/** The exit status for wrong usage, if it is not WRONG_USAGE. */
	usageStatus?: number;
}

interface Entry {
	summary: string;
	load: () => Promise<CommandModule>;
}

const commands: Record<string, Entry> = {
	mount: {
		summary: "create an ID-mapped mount, which shows files with other owners",
		load: () => import("./mount.ts"),
	},
	umount: { summary: "unmount an ID-mapped mount or a pinned namespace", load: () => import("./umount.ts") },
	mounts: { summary: "list ID-mapped mounts with their maps", load: () => import("./mounts.ts") },
	supports: { summary: "check whether a path can be ID-mapped", load: () => import("./supports.ts") },
	create: { summary: "create a user namespace and pin it at a path", load: () => import("./create.ts") },
	exec: { summary: "run a program in a user namespace", load: () => import("./exec.ts") },
	map: { summary: "convert, combine, check and draw mappings", load: () => import("./map.ts") },
	show: { summary: "show the user namespace of a process or at a path", load: () => import("./show.ts") },
	build: { summary: "compile the native add-on of this package", load: () => import("./build.ts") },
};

const HELP = `
Example:
  userns mount --map 0:2100000000:65536 /srv/data /mnt/data

See "userns COMMAND --help" for the options of a command.`;

function version(): string {
	const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
	return (JSON.parse(text) as { version: string }).version;
}

let loaded: CommandModule | undefined;

/** The command whose arguments are wrong, as it is called: `userns map convert`. */
let failed = "userns";

/** A command whose options have no prototype. src/options.ts does the same for the library. */
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

	/** Commander calls this for every wrong argument. */
	override error(message: string, options?: ErrorOptions): never {
		failed = [this.name(), ...parents(this)].reverse().join(" ");
		return super.error(message, options);
	}
}

function parents({ parent }: Command): string[] {
	return parent === null ? [] : [parent.name(), ...parents(parent)];
}

/** The output of commander, such as a help page. start() writes it at the end, where a write error can be reported. */
const output = { text: "", errors: "" };

async function main(args: readonly string[]): Promise<void> {
	const program = new OwnCommand("userns")
		.description("Create user namespaces and ID-mapped mounts on Linux.")
		.version(version(), "-V, --version", "print the version")
		.helpOption("-h, --help", "print this help")
		.helpCommand("help [command]", "print the help of a command")
		.enablePositionalOptions()
		.showHelpAfterError(false)
		.exitOverride()
		.configureOutput({
			writeOut: (text) => {
				output.text += text;
			},
			writeErr: (text) => {
				output.errors += text;
			},
			outputError: (text, write) => {
				const line = printable(
					text
						.trimEnd()
						.replace(/^error: /, "userns: ")
						.replace("\n(", " ("),
				);
				write(`${line}\nhint: See "${failed} --help".\n`);
			},
		});
	program.addHelpText("after", HELP);
	const words = args.filter((arg) => !arg.startsWith("-"));
	const [called, subcommand] = words;
	for (const [name, { summary, load }] of Object.entries(commands)) {
		const command = program
			.command(name)
			.summary(summary)
			.description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`);
		if (name !== called) continue;
		loaded = await load();
		loaded.define(command);
		refuseUnknown(command, subcommand, args);
	}
	refuseUnknown(program, called, args);
	if (args.length === 0) {
		program.outputHelp({ error: true });
		output.errors += "\nuserns: no command is given\n";
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

/** Commander would print the help of `map` for `map foo --help`. */
function refuseUnknown(command: Command, word: string | undefined, args: readonly string[]): void {
	const known = command.commands.map((each) => each.name());
	if (known.length === 0 || word === undefined || word === "help" || known.includes(word)) return;
	if (args.includes("--help") || args.includes("-h")) command.error(`error: unknown command '${word}'`);
}

/** `help map convert` as `map convert --help`. Commander prints its own help for `help foo`, and ignores a second word. */
function helpArguments(args: readonly string[]): readonly string[] {
	const [first, name, subcommand] = args;
	if (first !== "help" || name === undefined || name.startsWith("-")) return args;
	return name === "map" && subcommand !== undefined ? [name, subcommand, "--help"] : [name, "--help"];
}

/** A function, because the bundled command is CommonJS, which has no await at the top of a module. */
async function start(args: readonly string[]): Promise<void> {
	try {
		await main(helpArguments(args));
	} catch (error) {
		process.exitCode = await statusOf(error, args);
	}
	await printErrors(output.errors);
	try {
		await printText(output.text);
	} catch (error) {
		process.exitCode = await statusOf(error, args);
	}
}

void start(process.argv.slice(2));
