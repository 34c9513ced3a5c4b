import { existsSync, readFileSync, statSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import {
	findId,
	type IdKind,
	Mapping,
	type MappingContext,
	type MappingSyntax,
	mappingSyntaxes,
	mappingSyntaxUses,
	UsernsError,
} from "../index.ts";
import { drawText } from "./map-draw.ts";
import { drawSvg } from "./map-svg.ts";
import { mappingLines, NO, NO_ANSWER, print, printDrawing, reasonOf, STATUS_HELP } from "./output.ts";

interface TextOptions {
	from?: MappingSyntax;
	json?: boolean;
	parent?: string;
	rootless?: boolean;
	container?: string;
	user?: string;
	skipOtherLines?: boolean;
}

const NAMES = Object.keys(mappingSyntaxes) as MappingSyntax[];

const MAP_HELP = `
The syntaxes of a mapping, and the program or file that each belongs to:
${NAMES.map((name) => `  ${name.padEnd(14)}  ${mappingSyntaxUses[name]}\n${" ".repeat(18)}${mappingSyntaxes[name]}`).join("\n")}
containerID is the ID inside a namespace or, for a mount, on disk. hostID is the
ID outside or, for a mount, visible.

Example:
  userns map convert --to incus 0:2100000000:65536

See "userns map COMMAND --help" for the options of a command.`;

const TEXT_HELP = `
A mapping is written in one of the syntaxes that "userns map --help" lists. "-"
reads it from standard input, and a pid or /proc/PID reads the maps of a
process. Without --from, the syntax is detected. A text with different meanings
in several syntaxes is an error. After u:, g: or b:, and wherever the kind of ID
is clear, a user or group name can stand in place of an ID.`;

function readMapping(text: string, options: TextOptions): Mapping {
	return readText(text, options).mapping;
}

/**
 * Reads a mapping from standard input, from a process, or from the argument itself, and says in which syntax it is. No syntax has a
 * text of digits only.
 */
function readText(text: string, options: TextOptions): { mapping: Mapping; syntax: MappingSyntax } {
	const pid = /^\d+$/.test(text) ? text : /^\/proc\/(self|\d+)\/?$/.exec(text)?.[1];
	if (pid !== undefined) {
		try {
			const [uid, gid] = ["uid_map", "gid_map"].map((file) => readFileSync(`/proc/${pid}/${file}`, "latin1"));
			return { mapping: Mapping.fromProc(uid ?? "", gid ?? ""), syntax: "proc" };
		} catch (cause) {
			if (cause instanceof UsernsError) throw cause;
			throw new UsernsError("ERR_USERNS_OPEN", `cannot read the maps of process ${pid}: ${reasonOf(cause)}`, {
				hint: existsSync("/proc/self/status")
					? "Give the pid of a process that has not ended."
					: "Mount a procfs of this pid namespace at /proc: the maps are read there.",
				cause,
			});
		}
	}
	const { from } = options;
	// In a line of /etc/subuid, a carriage return before the newline is a mistake.
	const end = from === "subid" ? /\n$/ : /\r?\n$/;
	const content = text === "-" ? readFileSync(0, "utf8").replace(end, "") : text;
	try {
		if (from === undefined) return Mapping.detect(content, contextOf(options));
		return { mapping: Mapping.parse(content, from, contextOf(options)), syntax: from };
	} catch (error) {
		throw isFile(text) ? fileInsteadOfText(error, text) : error;
	}
}

/** Whether the text is the path of a file with content, which a namespace in /proc has not. */
function isFile(text: string): boolean {
	try {
		const found = text.includes("/") ? statSync(text) : undefined;
		return found?.isFile() === true && found.size > 0;
	} catch {
		return false;
	}
}

function fileInsteadOfText(error: unknown, path: string): unknown {
	if (!(error instanceof UsernsError)) return error;
	return new UsernsError(error.code, `${JSON.stringify(path)} is a file, not the text of a mapping`, {
		hint: "Read it from standard input: give - instead of the path, and redirect the file, as in - < FILE.",
	});
}

function contextOf({ parent, rootless, container, user, skipOtherLines }: TextOptions): MappingContext {
	return {
		parent,
		rootless,
		container,
		skipOtherLines,
		names: findId,
		user: user === undefined ? undefined : /^\d+$/.test(user) ? { uid: Number(user) } : { name: user },
	};
}

/** A subcommand whose arguments are mappings, with the options for reading them. */
function subcommand(
	parent: Command,
	name: string,
	summary: string,
	texts: readonly string[],
	example: readonly [args: string, meaning: string],
): Command {
	const command = parent
		.command(name)
		.summary(summary)
		.description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`);
	for (const text of texts) command.argument(`<${text}>`, "a mapping, - or a pid; see below");
	return command
		.addOption(
			new Option("--from <syntax>", "the syntax of every mapping given (default: detected)").argParser(
				syntaxName,
			),
		)
		.option("--parent <map>", "podman: the delegated IDs, for @ and +")
		.option("--rootless", "podman: a first + extends the delegated IDs")
		.option("--container <map>", "podman-idmap: the container's mapping")
		.option("--user <user>", "subid: the user of the lines, by name or uid")
		.option("--skip-other-lines", "lxc.conf, quadlet: skip lines of other settings")
		.option("--json", "print the result as JSON")
		.addHelpText("after", `\nExample:\n  userns map ${name} ${example[0]}\n${example[1]}\n${TEXT_HELP}`);
}

function syntaxName(value: string): string {
	if (Object.hasOwn(mappingSyntaxes, value)) return value;
	throw new InvalidArgumentError(`Allowed choices are ${NAMES.join(", ")}.`);
}

function parseId(value: string): number {
	if (/^(0|[1-9]\d{0,9})$/.test(value) && Number(value) <= 4294967295) return Number(value);
	throw new InvalidArgumentError("An ID is a whole number from 0 to 4294967295.");
}

function printMapping(json: boolean | undefined, mapping: Mapping): Promise<void> {
	return print(json, { text: mapping.toString(), mapping }, () => [mapping.toString()]);
}

/** `check` and `translate` answer a question; the answer of `check` for a text that is no mapping is no. */
export function statusOf(error: unknown, [subcommand]: readonly string[]): number | undefined {
	if (subcommand !== "check" && subcommand !== "translate") return undefined;
	const isInvalid = error instanceof UsernsError && error.code === "ERR_USERNS_INVALID_MAPPING";
	return isInvalid && subcommand === "check" ? NO : NO_ANSWER;
}

export function define(command: Command): void {
	command.addHelpText("after", MAP_HELP);
	defineConvert(command);
	defineAlgebra(command);
	definePunch(command);
	defineTranslate(command);
	defineCheck(command);
	defineDraw(command);
}

function defineConvert(command: Command): void {
	subcommand(
		command,
		"convert",
		"write a mapping in another syntax",
		["mapping"],
		["--to incus 0:2100000000:65536", "prints: both 2100000000-2100065535 0-65535"],
	)
		.addOption(
			new Option("--to <syntax>", "the syntax to write (default: colon)")
				.choices(NAMES)
				.argParser(syntaxName),
		)
		.action((text: string, options: TextOptions & { to?: MappingSyntax }) => {
			const mapping = readMapping(text, options);
			const written = mapping.toString(options.to ?? "colon", contextOf(options));
			return print(options.json, { text: written, mapping }, () => written.split("\n"));
		});
}

function defineAlgebra(command: Command): void {
	subcommand(
		command,
		"invert",
		"exchange container IDs and host IDs",
		["mapping"],
		["0:2100000000:65536", "prints: 2100000000:0:65536"],
	).action((text: string, options: TextOptions) =>
		printMapping(options.json, readMapping(text, options).invert()),
	);
	const pairs = {
		compose: [
			"apply the first mapping, then the second",
			["0:10:5 10:1000:3", "prints: 0:1000:3"],
			(a: Mapping, b: Mapping) => a.compose(b),
		],
		intersect: [
			"keep the IDs that both mappings map to the same ID",
			["0:10:5 3:13:9", "prints: 3:13:2"],
			(a: Mapping, b: Mapping) => a.intersect(b),
		],
		subtract: [
			"remove the IDs that both mappings map to the same ID",
			["0:10:5 3:13:9", "prints: 0:10:3"],
			(a: Mapping, b: Mapping) => a.subtract(b),
		],
		union: [
			"merge two mappings; conflicting extents are an error",
			["0:10:5 5:15:5", "prints: 0:10:10"],
			(a: Mapping, b: Mapping) => a.union(b),
		],
	} as const;
	for (const [name, [summary, example, operation]] of Object.entries(pairs)) {
		subcommand(command, name, summary, ["first", "second"], example).action(
			(first: string, second: string, options: TextOptions) =>
				printMapping(options.json, operation(readMapping(first, options), readMapping(second, options))),
		);
	}
}

function definePunch(command: Command): void {
	subcommand(
		command,
		"punch",
		"map one ID to another, and keep the rest",
		["mapping"],
		[
			"0:2100000000:65536 1000 1000",
			"prints: 0:2100000000:1000,1000:1000:1,1001:2100001001:64535\n\nThe ID that was mapped to hostID before is not mapped any more.",
		],
	)
		.argument("<id>", "the ID inside a namespace, or on disk", parseId)
		.argument("<to>", "the ID outside, or visible", parseId)
		.addOption(new Option("--kind <kind>", "of user or group IDs only").choices(["uid", "gid"]))
		.action((text: string, containerID: number, hostID: number, options: PunchOptions) =>
			printMapping(options.json, readMapping(text, options).punch(containerID, hostID, options.kind)),
		);
}

interface PunchOptions extends TextOptions {
	kind?: IdKind;
}

interface TranslateOptions extends TextOptions {
	uid?: number;
	gid?: number;
	reverse?: boolean;
}

function defineTranslate(parent: Command): void {
	const command = subcommand(
		parent,
		"translate",
		"print the ID to which a given ID is mapped",
		["mapping"],
		[
			"--uid 33 0:2100000000:65536",
			`prints: 2100000033\n\nFor an ID that is not mapped, the command prints "not mapped".\n${STATUS_HELP}`,
		],
	);
	command
		.option("--uid <id>", "the user ID to translate", parseId)
		.option("--gid <id>", "the group ID to translate", parseId)
		.option("--reverse", "translate from hostID to containerID")
		.action((text: string, options: TranslateOptions) => {
			const { uid, gid, reverse = false } = options;
			if ((uid === undefined) === (gid === undefined))
				command.error("error: one of --uid and --gid must be given");
			const mapping = readMapping(text, options);
			const used = reverse ? mapping.invert() : mapping;
			const result = uid === undefined ? used.gidToHost(gid as number) : used.uidToHost(uid);
			const kind = uid === undefined ? "gid" : "uid";
			if (result === undefined) process.exitCode = NO;
			return print(options.json, { kind, id: uid ?? gid, reverse, result: result ?? null }, () => [
				`${result ?? "not mapped"}`,
			]);
		});
}

function defineCheck(command: Command): void {
	subcommand(
		command,
		"check",
		"check a mapping by the kernel's rules",
		["mapping"],
		[
			"0:2100000000:65536",
			`prints "valid, read as colon" and the extents, or the mistake on standard error.\n${STATUS_HELP}`,
		],
	).action((text: string, options: TextOptions) => {
		const { mapping, syntax } = readText(text, options);
		const result = { valid: true, syntax, text: mapping.fit().toString(), size: mapping.size, mapping };
		return print(options.json, result, () => [
			`valid, read as ${syntax}`,
			...mappingLines(mapping, "inside", "outside"),
		]);
	});
}

function defineDraw(parent: Command): void {
	const command = subcommand(
		parent,
		"draw",
		"draw a mapping as text or SVG",
		["mapping"],
		["0:2100000000:1000,1000:1000:1", "draws two columns of IDs, joined by lines."],
	);
	command
		.option("--svg <file>", "write an SVG file; - for standard output")
		.action((text: string, options: TextOptions & { svg?: string }) => {
			const { svg, json } = options;
			if (json && svg === "-") command.error("error: --json and --svg - both print the result");
			const mapping = readMapping(text, options);
			if (svg === undefined) {
				const drawing = drawText(mapping);
				return print(json, { drawing, mapping }, () => drawing.split("\n"));
			}
			return printDrawing(svg, drawSvg(mapping), json, { svg, mapping });
		});
}
