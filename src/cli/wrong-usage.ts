import type { Command, Option } from "commander";
import { otherWord } from "./other-words.ts";
import { CommandError } from "./output.ts";

/** The words of a call as the command takes them. */
interface Words {
	/** The options that have a value, each with it. */
	values: { option: Option; value: string; attached: boolean }[];
	/** All other options. */
	flags: string[];
	operands: string[];
}

/** Whether the words after the first operand belong to another command or program. */
function passesOn(command: Command): boolean {
	return command.commands.length > 0 || command.registeredArguments.some(({ variadic }) => variadic);
}

function optionCalled(command: Command, name: string): Option | undefined {
	return command.options.find(({ long, short }) => name === long || name === short);
}

/** Divides the words of a call as Commander does, which reports only the first mistake and not how it took the other words. */
function divide(command: Command, args: readonly string[]): Words {
	const words: Words = { values: [], flags: [], operands: [] };
	for (let i = 0; i < args.length; i++) {
		const arg = args[i] as string;
		const [, name = arg, attached] = /^(--[^=]*)=(.*)$/s.exec(arg) ?? [];
		const option = optionCalled(command, name);
		if (option?.required && attached !== undefined)
			words.values.push({ option, value: attached, attached: true });
		else if (option?.required) {
			const value = args[++i];
			if (value !== undefined) words.values.push({ option, value, attached: false });
		} else if (arg === "--" || ((arg === "-" || !arg.startsWith("-")) && passesOn(command))) {
			words.operands.push(...args.slice(arg === "--" ? i + 1 : i));
			break;
		} else if (arg === "-" || !arg.startsWith("-")) words.operands.push(arg);
		else words.flags.push(arg);
	}
	return words;
}

/** Whether --json is a word of the command, and not of a program that it runs. */
export function wantsJson(program: Command, args: readonly string[]): boolean {
	const command = program.commands.find((each) => each.name() === args[0]);
	const isForeign = command?.registeredArguments.some(({ variadic }) => variadic);
	return (command !== undefined && isForeign ? divide(command, args.slice(1)).flags : args).includes(
		"--json",
	);
}

/** The words with which a command is called: `userns`, `map`, `convert`. */
export function pathOf(command: Command): string[] {
	return [...(command.parent === null ? [] : pathOf(command.parent)), command.name()];
}

function usageError(command: Command, message: string, hint?: string): CommandError {
	const see = `See "${pathOf(command).join(" ")} --help".`;
	return new CommandError(message, hint ?? see, "ERR_USERNS_INVALID_ARGUMENT");
}

/**
 * Throws if an option has the option after it as its value: `--uid --gid`. Commander would accept it, and
 * `--at --json` would create a file with the name "--json".
 */
export function refuseOptionAsValue(command: Command, args: readonly string[]): void {
	for (const { option, value, attached } of divide(command, args).values) {
		if (attached || !(value === "-h" || value.startsWith("--"))) continue;
		throw usageError(
			command,
			`option '${option.flags}' has no value, because '${value}' after it is an option`,
			`Write the value after ${option.long}, or "${option.long}=${value}" if '${value}' is the value.`,
		);
	}
}

/** How the words were taken: `'0:1:1' is taken as the file of --svg, 'a' as the source`. */
function taken(command: Command, { values, operands }: Words): string {
	const all = [
		...values.map(({ option, value }) => [
			value,
			`the ${/<(.*)>/.exec(option.flags)?.[1]} of ${option.long}`,
		]),
		...command.registeredArguments.flatMap((argument, i) => {
			const value = operands[i];
			return value === undefined ? [] : [[value, `the ${argument.name()}`]];
		}),
	];
	return all.map(([value, what], i) => `'${value}' ${i === 0 ? "is taken " : ""}as ${what}`).join(", ");
}

/** The error for a message of Commander about wrong arguments. `args` are the command's words. */
export function wrongUsage(
	command: Command,
	message: string,
	code: string | undefined,
	args: readonly string[],
): CommandError {
	const text = message
		.trimEnd()
		.replace(/^error: /, "")
		.replace("\n(", " (");
	const [, unknown = args.length === 0 ? "" : undefined] =
		/^unknown (?:option|command) '(.*?)'/s.exec(text) ?? [];
	const other = unknown === undefined ? undefined : otherWord(pathOf(command).join(" "), unknown);
	if (other !== undefined) {
		const plain = text.replace(/ \(Did you mean .*\)$/, "");
		return other.endsWith(".")
			? usageError(command, plain, other)
			: usageError(command, `${plain} (Did you mean ${other}?)`);
	}
	if (code === "commander.missingArgument" || code === "commander.excessArguments") {
		const how = taken(command, divide(command, args));
		if (how !== "") return usageError(command, `${text.replace(/\.$/, "")}: ${how}`);
	}
	return usageError(command, text);
}
