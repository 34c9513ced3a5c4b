import { type Command, CommanderError } from "commander";
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
import { type CommandModule, commands, createProgram, failedCommand } from "./program.ts";

let loaded: CommandModule | undefined;

/** The output of commander, such as a help page. start() writes it at the end, where a write error can be reported. */
const output = { text: "", errors: "" };

const configuration = {
	writeOut: (text: string) => {
		output.text += text;
	},
	writeErr: (text: string) => {
		output.errors += text;
	},
	outputError: (text: string, write: (text: string) => void) => {
		const line = printable(
			text
				.trimEnd()
				.replace(/^error: /, "userns: ")
				.replace("\n(", " ("),
		);
		write(`${line}\nhint: See "${failedCommand()} --help".\n`);
	},
};

function configure(command: Command): void {
	command.configureOutput(configuration);
	for (const each of command.commands) configure(each);
}

async function main(args: readonly string[]): Promise<void> {
	const words = args.filter((arg) => !arg.startsWith("-"));
	const [called = "", subcommand] = words;
	if (Object.hasOwn(commands, called)) loaded = await commands[called]?.load();
	const program = createProgram(new Map(loaded === undefined ? [] : [[called, loaded]]));
	configure(program);
	if (args.length === 0) {
		program.outputHelp({ error: true });
		output.errors += "\nuserns: no command is given\n";
		process.exitCode = WRONG_USAGE;
		return;
	}
	const command = program.commands.find((each) => each.name() === called);
	const isUnknown = lacks(program, words[0]) || (command !== undefined && lacks(command, subcommand));
	// Commander would print the help of `map` for `map foo --help`.
	await program.parseAsync(isUnknown ? args.filter((arg) => arg !== "--help" && arg !== "-h") : args, {
		from: "user",
	});
}

/** Whether a command has commands, and the word is none of them. */
function lacks({ commands: known }: Command, word: string | undefined): boolean {
	return (
		known.length > 0 && word !== undefined && word !== "help" && !known.some((each) => each.name() === word)
	);
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
