import { type Command, CommanderError } from "commander";
import {
	BROKEN_PIPE,
	FAILED,
	isWrongUsage,
	OutputError,
	printErrors,
	printFailure,
	printText,
	WRONG_USAGE,
} from "./output.ts";
import { type CommandModule, commands, createProgram } from "./program.ts";
import { wantsJson } from "./wrong-usage.ts";

let program: Command | undefined;
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
};

function configure(command: Command): void {
	command.configureOutput(configuration);
	for (const each of command.commands) configure(each);
}

async function main(args: readonly string[]): Promise<void> {
	const words = args.filter((arg) => !arg.startsWith("-"));
	const [called = "", subcommand] = words;
	if (Object.hasOwn(commands, called)) loaded = await commands[called]?.load();
	program = createProgram(new Map(loaded === undefined ? [] : [[called, loaded]]));
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

/** Reports an error, and returns the exit status. */
async function report(error: unknown, args: readonly string[]): Promise<number> {
	if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE;
	if (error instanceof OutputError && error.brokenPipe) return BROKEN_PIPE;
	const json = !(error instanceof OutputError) && program !== undefined && wantsJson(program, args);
	await printFailure(error, json);
	return loaded?.statusOf?.(error, args.slice(1)) ?? (isWrongUsage(error) ? WRONG_USAGE : FAILED);
}

/** `help map convert` as `map convert --help`. Commander prints its own help for `help foo`, and ignores a second word. */
function helpArguments(args: readonly string[]): readonly string[] {
	const [first, name, subcommand] = args;
	if (first !== "help" || name === undefined) return args;
	if (name.startsWith("-")) return args.slice(1);
	return name === "map" && subcommand !== undefined ? [name, subcommand, "--help"] : [name, "--help"];
}

/** A function, because the bundled command is CommonJS, which has no await at the top of a module. */
async function start(args: readonly string[]): Promise<void> {
	try {
		await main(helpArguments(args));
	} catch (error) {
		process.exitCode = await report(error, args);
	}
	await printErrors(output.errors);
	try {
		await printText(output.text);
	} catch (error) {
		process.exitCode = await report(error, args);
	}
}

void start(process.argv.slice(2));
