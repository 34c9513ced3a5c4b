import { Argument, type Command, type Option } from "commander";
import { mappingSyntaxes } from "../index.ts";
import { columnNames } from "./ls.ts";
import { namespaceKinds } from "./namespace-argument.ts";
import { printText } from "./output.ts";
import { createWholeProgram } from "./program.ts";
import { pathOf } from "./wrong-usage.ts";

const HELP = `
Example:
  userns completion bash
prints the completions of this version. A shell loads them at its start, with
a line in one of these files:
  ~/.bashrc                   source <(userns completion bash)
  ~/.zshrc, after compinit    source <(userns completion zsh)
  ~/.config/fish/config.fish  userns completion fish | source`;

export function define(command: Command): void {
	command
		.addArgument(new Argument("<shell>", "the shell").choices(Object.keys(SHELLS)))
		.addHelpText("after", HELP)
		.action(async (shell: string) => printText(SHELLS[shell]?.(describe(await createWholeProgram())) ?? ""));
}

/** What a shell offers for a value: these words, these words separated by commas, paths, programs, users, or nothing. */
interface Value {
	words?: readonly string[];
	list?: boolean;
	kind?: "path" | "program" | "user";
}

const PATH: Value = { kind: "path" };

/** The value of each argument and of each option's argument, by the name that the help page has for it. */
const VALUES: Readonly<Record<string, Value>> = {
	map: {},
	id: {},
	ids: {},
	text: {},
	to: {},
	number: {},
	numbers: {},
	pid: {},
	...{ args: PATH, dir: PATH, file: PATH, first: PATH, mapping: PATH, path: PATH },
	...{ "pid|path": PATH, second: PATH, source: PATH, target: PATH },
	command: { kind: "program" },
	names: { words: columnNames, list: true },
	uid: {},
	kinds: { words: namespaceKinds, list: true },
	syntax: { words: Object.keys(mappingSyntaxes) },
	...{ owner: { kind: "user" }, user: { kind: "user" } },
};

interface Flag {
	names: string[];
	description: string;
	/** Undefined if the option has no argument. */
	value?: Value;
	valueName: string;
}

/** A command in the form that the scripts need. */
interface Described {
	path: string;
	description: string;
	flags: Flag[];
	commands: Described[];
	/** The commands by name, with `help`. */
	words: [name: string, description: string][];
	arguments: { name: string; value: Value }[];
	/** Whether the words after the first argument belong to another program. */
	passesOn: boolean;
}

function valueFor(path: string, name: string, choices: readonly string[] | undefined): Value {
	if (choices !== undefined) return { words: choices };
	if (path === "userns exec" && name === "map") return { words: ["auto", "keep-id"] };
	const value = Object.hasOwn(VALUES, name) ? VALUES[name] : undefined;
	if (value === undefined) throw new Error(`src/cli/completion.ts has no value for <${name}> of ${path}`);
	return value;
}

function describeFlag(path: string, { short, long, flags, description, argChoices }: Option): Flag {
	const [, valueName] = /<(.*)>$/.exec(flags) ?? [];
	return {
		names: [short, long].filter((name) => name !== undefined && name !== null),
		description,
		valueName: valueName ?? "",
		...(valueName !== undefined && { value: valueFor(path, valueName, argChoices) }),
	};
}

function describe(command: Command): Described {
	const path = pathOf(command).join(" ");
	const help = command.createHelp();
	const words = help
		.visibleCommands(command)
		.map((each) => [each.name(), each.summary()] as [string, string]);
	return {
		path,
		description: command.summary(),
		flags: help.visibleOptions(command).map((option) => describeFlag(path, option)),
		commands: command.commands.map(describe),
		words: words.map(([name, text]) => [name, text === "" ? "print the help of a command" : text]),
		arguments: command.registeredArguments.map((argument) => ({
			name: argument.name(),
			value: valueFor(path, argument.name(), argument.argChoices),
		})),
		passesOn: command.registeredArguments.some(({ variadic }) => variadic),
	};
}

function all(command: Described): Described[] {
	return [command, ...command.commands.flatMap(all)];
}

function quote(text: string): string {
	return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The options with an argument, each with the command: `'userns mount --map'`. */
function optionsWithValue(commands: readonly Described[]): string[] {
	return commands.flatMap(({ path, flags }) =>
		flags
			.filter(({ value }) => value !== undefined)
			.flatMap(({ names }) => names.map((n) => quote(`${path} ${n}`))),
	);
}

/** Sets variables of the bash script: `words`, `list`, and `other` for what the shell itself completes. */
function bashValue({ words, list, kind }: Value): string {
	if (words !== undefined) return `words=${quote(words.join(" "))}${list ? " list=1" : ""}`;
	return `other=${kind ?? "none"}`;
}

function bash(program: Described): string {
	const commands = all(program);
	const values = commands.flatMap(({ path, flags }) =>
		flags.flatMap(({ names, value }) =>
			value === undefined || value === PATH
				? []
				: names.map((name) => `${quote(`${path} ${name}`)}) ${bashValue(value)} ;;`),
		),
	);
	const flags = commands.map(
		(each) => `${quote(each.path)}) words=${quote(each.flags.flatMap(({ names }) => names).join(" "))} ;;`,
	);
	const positions = commands.flatMap((each) => {
		const [first] = each.arguments;
		const value = each.words.length > 0 ? { words: each.words.map(([name]) => name) } : first?.value;
		if (value === PATH) return [];
		return [`${quote(each.path)}) ${value === undefined ? "other=none" : bashValue(value)} ;;`];
	});
	const passing = commands.filter(({ passesOn }) => passesOn).map(({ path }) => quote(path));
	return `# The completions of userns for bash. In ~/.bashrc: source <(userns completion bash)
# Paths are left to the shell, which also quotes them (complete -o default).
_userns() {
	local line=\${COMP_LINE:0:COMP_POINT} command=userns option= words= list= other= word current prefix=
	local -a given
	# COMP_WORDS splits a mapping at its colons.
	read -ra given <<< "$line"
	[[ $line == *[[:space:]] ]] && given+=("")
	current=\${given[\${#given[@]} - 1]}
	for word in "\${given[@]:1:\${#given[@]} - 2}"; do
		if [[ -n $option ]]; then
			option=
			continue
		fi
		case "$command $word" in
			${optionsWithValue(commands).join(" | ")}) option=$word ;;
			${commands
				.slice(1)
				.map(({ path }) => quote(path))
				.join(" | ")}) command+=" $word" ;;
			*' -'*) ;;
			*) case $command in ${passing.join(" | ")}) return ;; esac ;;
		esac
	done
	if [[ $current == --*=* ]]; then
		option=\${current%%=*}
		current=\${current#*=}
	fi
	if [[ -n $option ]]; then
		case "$command $option" in
			${values.join("\n\t\t\t")}
		esac
	elif [[ $current == -* ]]; then
		case $command in
			${flags.join("\n\t\t\t")}
		esac
	else
		case $command in
			${positions.join("\n\t\t\t")}
		esac
	fi
	if [[ -n $list ]]; then
		prefix=\${current%"\${current##*,}"}
		current=\${current##*,}
	fi
	case $other in
		program)
			# The shell itself completes and quotes a path.
			[[ $current == */* ]] || mapfile -t COMPREPLY < <(compgen -c -- "$current")
			;;
		user) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
		none) compopt +o default ;;
		*)
			[[ -n $words ]] && compopt +o default
			mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$words" -- "$current")
			;;
	esac
}
complete -o default -F _userns userns
`;
}

function zshAction({ words, list, kind }: Value): string {
	if (words !== undefined) return list ? `_values -s , kind ${words.join(" ")}` : `(${words.join(" ")})`;
	return { path: "_files", program: "_command_names -e", user: "_users", none: " " }[kind ?? "none"];
}

function zshText(text: string): string {
	return text.replaceAll(/[[\]:\\]/g, "\\$&");
}

function zshFlag({ names, description, value, valueName }: Flag): string[] {
	const others = names.length > 1 ? `(${names.join(" ")})` : "";
	const end = value === undefined ? "" : `:${zshText(valueName)}:${zshAction(value)}`;
	return names.map((name) =>
		quote(`${others}${name}${value === undefined ? "" : "="}[${zshText(description)}]${end}`),
	);
}

function zshFunction(command: Described): string {
	const name = `_${command.path.replaceAll(" ", "_")}`;
	const flags = command.flags.flatMap(zshFlag);
	if (command.words.length === 0) {
		const positions = command.arguments.map(({ name: word, value }, i) => {
			if (!command.passesOn) return quote(`${i + 1}:${word}:${zshAction(value)}`);
			return quote(i === 0 ? `(-)1:${word}:${zshAction(value)}` : `*::${word}:_normal`);
		});
		return `${name}() {\n\t_arguments -s -S ${[...flags, ...positions].join(" \\\n\t\t")}\n}\n`;
	}
	const words = command.words.map(([word, text]) => quote(`${word}:${zshText(text)}`));
	return `${name}() {
	local state line context
	local -a offered=(
		${words.join("\n\t\t")}
	)
	_arguments -C ${flags.join(" \\\n\t\t")} \\
		'1: :->command' '*:: :->arguments'
	case $state in
		command) _describe command offered ;;
		arguments)
			case $words[1] in
				help) ((CURRENT == 2)) && _describe command offered ;;
				*) (($+functions[${name}_$words[1]])) && ${name}_$words[1] ;;
			esac ;;
	esac
}
`;
}

function zsh(program: Described): string {
	const functions = all(program).reverse().map(zshFunction);
	return `#compdef userns
# The completions of userns for zsh. In ~/.zshrc, after compinit: source <(userns completion zsh)
${functions.join("\n")}
# In a folder of $fpath, this file itself is the function.
if [[ $funcstack[1] == _userns ]]; then
	_userns "$@"
else
	compdef _userns userns
fi
`;
}

function fishArguments({ words, list, kind }: Value): string {
	if (words !== undefined) {
		return list ? `-f -a "(__fish_append , ${words.join(" ")})"` : `-f -a ${quote(words.join(" "))}`;
	}
	const programs = { program: "__fish_complete_command", user: "__fish_complete_users" };
	if (kind === "path") return "-F";
	return kind === undefined ? "-f" : `-f -a "(${programs[kind]})"`;
}

function fish(program: Described): string {
	const commands = all(program);
	const lines = commands.flatMap((each) => {
		const start = `complete -c userns -n ${quote(`__userns_at ${each.path}`)}`;
		const flags = each.flags.map(({ names, description, value }) => {
			const options = names.map((name) =>
				name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
			);
			const rest = value === undefined ? "" : ` -r ${fishArguments(value)}`;
			return `${start} ${options.join(" ")}${rest} -d ${fishQuote(description)}`;
		});
		const words = each.words.map(([name, text]) => `${start} -f -a ${name} -d ${fishQuote(text)}`);
		const [first] = each.arguments;
		return [...flags, ...words, ...(first === undefined ? [] : [`${start} ${fishArguments(first.value)}`])];
	});
	const passing = commands.filter(({ passesOn }) => passesOn).map(({ path }) => path);
	return `# The completions of userns for fish. In ~/.config/fish/config.fish: userns completion fish | source
# __userns_at COMMAND: whether the words before the cursor are that command, which can be a pattern, and its arguments.
function __userns_at
	set -l words (commandline -opc)
	set -l command userns
	set -l option
	for word in $words[2..]
		if test -n "$option"
			set option
			continue
		end
		switch "$command $word"
			case ${optionsWithValue(commands).join(" ")}
				set option $word
			case ${commands
				.slice(1)
				.map(({ path }) => quote(path))
				.join(" ")}
				set command "$command $word"
			case '* -*'
			case '*'
				contains -- $command ${passing.map(quote).join(" ")}; and set command "$command $word"
		end
	end
	string match -q -- "$argv" "$command"
end
complete -c userns -f
${passing.map((path) => `complete -c userns -n ${quote(`__userns_at ${path} '*'`)} -F`).join("\n")}
${lines.join("\n")}
`;
}

function fishQuote(text: string): string {
	return `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
}

const SHELLS: Readonly<Record<string, (program: Described) => string>> = { bash, zsh, fish };
