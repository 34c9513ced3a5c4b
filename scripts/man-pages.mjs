// Writes the manual pages of the command to dist/man, from the definitions that `userns --help` prints.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./setup.mjs";

const NAMED = { "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", "\\": "\\e" };

/** A line of text for roff: no character of it is a request, a quotation mark of typesetting or outside of ASCII. */
function roff(line) {
	return line
		.replace(/['`^~\\]/g, (sign) => NAMED[sign])
		.replace(
			/[^\n -~]/gu,
			(sign) => `\\[u${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`,
		)
		.replace(/(?<=^|[\s"([|-])-(?=[\w-])/g, "\\-")
		.replace(/^\./, "\\&.");
}

const bold = (text) => `\\fB${roff(text)}\\fR`;
const italic = (text) => `\\fI${roff(text)}\\fR`;

/** A flag and its argument: `--map <map>` as **--map** _map_. */
function term(flags) {
	return flags
		.split(/(<[^>]*>|\[[^\]]*\])/)
		.map((part) => (/^[<[]/.test(part) ? italic(part.slice(1, -1)) : part.trim() === "" ? part : bold(part)))
		.join("");
}

/** The text below the options of a help page, as it was given to addHelpText(). */
function textAfter(command) {
	let text = "";
	command.emit("afterHelp", {
		error: false,
		command,
		write: (part) => {
			text += part;
		},
	});
	return text.trim();
}

/** Text in lines of at most 80 bytes, of which none begins with a request. */
function fill(text) {
	const lines = [""];
	for (const word of roff(text).split(/\s+/)) {
		const longer = `${lines.at(-1)} ${word}`.trim();
		if (longer.length <= 80) lines[lines.length - 1] = longer;
		else lines.push(word.replace(/^\./, "\\&."));
	}
	return lines.join("\n");
}

/** A paragraph, in which lines that begin with two blanks keep their form. */
function body(lines) {
	const out = [];
	for (let i = 0; i < lines.length; ) {
		const literal = lines[i].startsWith("  ");
		const end = lines.findIndex((line, at) => at > i && line.startsWith("  ") !== literal);
		const part = lines.slice(i, end < 0 ? undefined : end);
		i += part.length;
		const rows = part.map((line) => roff(line.slice(2)).replaceAll(/(?<!\\)-/g, "\\-"));
		out.push(literal ? `.RS 2\n.nf\n${rows.join("\n")}\n.fi\n.RE` : fill(part.join(" ")));
	}
	return out.join("\n");
}

/** The paragraphs of a help text: that of the example, and the others. */
function paragraphs(text) {
	const all = text.split("\n\n").map((each) => each.split("\n"));
	const example = all.find(([first]) => first === "Example:");
	return { example: example?.slice(1) ?? [], notes: all.filter((each) => each !== example) };
}

function items(list) {
	return list.map(([name, text]) => `.TP\n${term(name)}\n${fill(text)}`).join("\n");
}

/** The command as it is called, with its arguments. */
function synopsis(command, path) {
	const help = command.createHelp();
	const given = help.visibleArguments(command).map((argument) => help.argumentTerm(argument));
	const words = command.registeredArguments.map((argument, i) => {
		const name = italic(given[i] ?? argument.name());
		return argument.required ? name : `[${name}${argument.variadic ? "\\|.\\|.\\|." : ""}]`;
	});
	if (command.commands.length > 0) words.push(italic("command"), "\\|.\\|.\\|.");
	return [bold(path), "[\\fIoptions\\fR]", ...words].join(" ");
}

/** The parts of a page about one command, without the options in `known`. */
function sections(command, known) {
	const help = command.createHelp();
	const { example, notes } = paragraphs(textAfter(command));
	const given = help
		.visibleArguments(command)
		.map((each) => [`<${help.argumentTerm(each)}>`, help.argumentDescription(each)]);
	const options = help
		.visibleOptions(command)
		.map((each) => [help.optionTerm(each), help.optionDescription(each)]);
	const commands = help
		.visibleCommands(command)
		.map((each) => [each.name(), each.summary() || each.description()]);
	const own = options.filter(([name]) => !known.has(name));
	return {
		description: fill(command.description()),
		list: items([...given, ...own]),
		commands: items(commands),
		notes: notes.map(body).join("\n.PP\n"),
		example: body(example),
	};
}

function subsections(command, path) {
	// Every command of `userns map` has these options: the page lists them once.
	const lists = command.commands.map((each) => {
		const help = each.createHelp();
		return help
			.visibleOptions(each)
			.map((option) => [help.optionTerm(option), help.optionDescription(option)]);
	});
	const [first = [], ...others] = lists;
	const common = first.filter(([name]) => others.every((list) => list.some(([other]) => other === name)));
	const known = new Set(common.map(([name]) => name));
	const notes = command.commands.map((each) => paragraphs(textAfter(each)).notes.map(body));
	const same = (notes[0] ?? []).filter((each) => notes.every((list) => list.includes(each)));
	const parts = command.commands.map((each, i) => {
		const { description, list, example } = sections(each, known);
		const before = [`.SS ${each.name()}`, synopsis(each, `${path} ${each.name()}`), ".PP", description];
		const own = notes[i].filter((text) => !same.includes(text)).flatMap((text) => [".PP", text]);
		return [...before, ...(list === "" ? [] : [list]), ".PP", "Example:", example, ...own].join("\n");
	});
	const options = items(common);
	return { text: [".SH COMMANDS", ...parts].join("\n"), options, notes: same.join("\n.PP\n") };
}

/** The day of the last commit, so that two builds of a commit are the same. */
function day() {
	const given = process.env.SOURCE_DATE_EPOCH;
	const { stdout } = spawnSync("git", ["log", "-1", "--format=%ct"], { cwd: root, encoding: "utf8" });
	const seconds = Number(given || stdout?.trim() || Date.now() / 1000);
	return new Date(seconds * 1000).toISOString().slice(0, 10);
}

function page(command, path, version, others) {
	const name = path.replaceAll(" ", "-");
	const { description, list, commands, notes, example } = sections(command, new Set());
	const nested = path !== "userns" && command.commands.length > 0 ? subsections(command, path) : undefined;
	const summary = command.summary() || command.description().replace(/\.$/, "").replace(/^C/, "c");
	return [
		`.\\" Generated from the definitions of "${path} --help".`,
		`.TH ${name.toUpperCase()} 1 ${day()} "userns ${version}" "userns"`,
		".SH NAME",
		`${name} \\- ${roff(summary)}`,
		".SH SYNOPSIS",
		synopsis(command, path),
		".SH DESCRIPTION",
		description,
		...(nested === undefined && commands !== "" ? [".SH COMMANDS", commands] : []),
		...(nested === undefined ? [] : [nested.text]),
		".SH OPTIONS",
		nested?.options ?? list,
		...(notes === "" ? [] : [".SH NOTES", notes, ...(nested?.notes ? [".PP", nested.notes] : [])]),
		".SH EXAMPLES",
		example,
		".SH SEE ALSO",
		others
			.filter((other) => other !== name)
			.map((other, i, all) => `.BR ${other} (1)${i < all.length - 1 ? "," : ""}`)
			.join("\n"),
		"",
	].join("\n");
}

/** The text of each manual page, by its file name. */
export async function manualPages() {
	const { createWholeProgram, version } = await import("../dist/src/cli/program.js");
	const program = await createWholeProgram();
	const named = [["userns", program], ...program.commands.map((each) => [`userns ${each.name()}`, each])];
	const others = named.map(([path]) => path.replaceAll(" ", "-"));
	const pages = named.map(([path, command]) => {
		const also = path === "userns" ? others : ["userns"];
		return [`${path.replaceAll(" ", "-")}.1`, page(command, path, version(), also)];
	});
	return new Map(pages);
}

export async function writeManualPages() {
	const folder = join(root, "dist/man");
	mkdirSync(folder, { recursive: true });
	for (const [name, text] of await manualPages()) writeFileSync(join(folder, name), text);
}
