import { readFileSync, writeFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { Mapping, type MappingContext, type MappingSyntax, mappingSyntaxes, UsernsError } from "../index.ts";
import { drawText } from "./map-draw.ts";
import { drawSvg } from "./map-svg.ts";
import { FAILED, mappingLines, print } from "./output.ts";

interface TextOptions {
	from?: MappingSyntax;
	json?: boolean;
	parent?: string;
	rootless?: boolean;
	container?: string;
	user?: string;
}

const NAMES = Object.keys(mappingSyntaxes) as MappingSyntax[];

const TEXT_HELP = `
TEXT is a mapping; - reads it from standard input, /proc/PID takes the maps of
that process. Without --from it must have one meaning. The syntaxes:
${NAMES.map((name) => `  ${name.padEnd(15)} ${mappingSyntaxes[name]}`).join("\n")}
containerID is the ID inside a namespace, or on disk for a mount; hostID is the
ID outside, or visible.`;

/** Reads TEXT: standard input, a process, or the argument itself. */
function readMapping(text: string, options: TextOptions): Mapping {
	const process = /^\/proc\/(self|\d+)\/?$/.exec(text);
	if (process !== null) {
		try {
			const [uid, gid] = ["uid_map", "gid_map"].map((file) =>
				readFileSync(`/proc/${process[1]}/${file}`, "latin1"),
			);
			return Mapping.fromProc(uid ?? "", gid ?? "");
		} catch (cause) {
			if (cause instanceof UsernsError) throw cause;
			throw new UsernsError(
				"ERR_USERNS_OPEN",
				`cannot read the maps of ${text}: ${(cause as Error).message}`,
				{
					hint: "Has the process ended?",
					cause,
				},
			);
		}
	}
	const content = text === "-" ? readFileSync(0, "utf8").replace(/\r?\n$/, "") : text;
	return Mapping.parse(content, options.from, contextOf(options));
}

function contextOf({ parent, rootless, container, user }: TextOptions): MappingContext {
	return {
		parent,
		rootless,
		container,
		user: user === undefined ? undefined : /^\d+$/.test(user) ? { uid: Number(user) } : { name: user },
	};
}

/** A subcommand whose argument is a mapping, with the options that say how it is read. */
function subcommand(parent: Command, name: string, summary: string, texts: readonly string[]): Command {
	const command = parent
		.command(name)
		.summary(summary)
		.description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`);
	for (const text of texts) command.argument(`<${text}>`, "a mapping, - or /proc/PID");
	return command
		.addOption(new Option("--from <syntax>", "the syntax of TEXT; see below").argParser(syntaxName))
		.option("--parent <map>", "podman: the delegated IDs, for @ and +")
		.option("--rootless", "podman: a first + extends the delegated IDs")
		.option("--container <map>", "podman-idmap: the container's mapping")
		.option("--user <user>", "subid: whose lines, by name or number")
		.option("--json", "print the result as JSON")
		.addHelpText("after", TEXT_HELP);
}

function syntaxName(value: string): string {
	if (Object.hasOwn(mappingSyntaxes, value)) return value;
	throw new InvalidArgumentError(`There is no such syntax. They are: ${NAMES.join(", ")}.`);
}

function parseId(value: string): number {
	if (/^(0|[1-9]\d{0,9})$/.test(value) && Number(value) <= 4294967295) return Number(value);
	throw new InvalidArgumentError("An ID is a whole number from 0 to 4294967295.");
}

function printMapping(json: boolean | undefined, mapping: Mapping): Promise<void> {
	return print(json, { text: mapping.toString(), mapping }, () => [mapping.toString()]);
}

export function define(command: Command): void {
	defineConvert(command);
	defineAlgebra(command);
	defineTranslate(command);
	defineCheck(command);
	defineDraw(command);
}

function defineConvert(command: Command): void {
	subcommand(command, "convert", "write a mapping in another syntax", ["text"])
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
	subcommand(command, "invert", "exchange inside and outside", ["text"]).action(
		(text: string, options: TextOptions) => printMapping(options.json, readMapping(text, options).invert()),
	);
	const pairs = {
		compose: ["the first mapping, then the second", (a: Mapping, b: Mapping) => a.compose(b)],
		intersect: ["what both map, and in the same way", (a: Mapping, b: Mapping) => a.intersect(b)],
		subtract: ["what the first maps and the second does not", (a: Mapping, b: Mapping) => a.subtract(b)],
		union: ["what either maps; an error on conflict", (a: Mapping, b: Mapping) => a.union(b)],
	} as const;
	for (const [name, [summary, operation]] of Object.entries(pairs)) {
		subcommand(command, name, summary, ["first", "second"]).action(
			(first: string, second: string, options: TextOptions) =>
				printMapping(options.json, operation(readMapping(first, options), readMapping(second, options))),
		);
	}
}

interface TranslateOptions extends TextOptions {
	uid?: number;
	gid?: number;
	reverse?: boolean;
}

function defineTranslate(command: Command): void {
	subcommand(command, "translate", "what one ID becomes", ["text"])
		.option("--uid <id>", "a user ID inside, or on disk", parseId)
		.option("--gid <id>", "a group ID inside, or on disk", parseId)
		.option("--reverse", "the ID is one outside, or visible")
		.action((text: string, options: TranslateOptions) => {
			const { uid, gid, reverse = false } = options;
			if ((uid === undefined) === (gid === undefined)) command.error("error: give either --uid or --gid");
			const mapping = readMapping(text, options);
			const used = reverse ? mapping.invert() : mapping;
			const result = uid === undefined ? used.gidToHost(gid as number) : used.uidToHost(uid);
			const kind = uid === undefined ? "gid" : "uid";
			if (result === undefined) process.exitCode = FAILED;
			return print(options.json, { kind, id: uid ?? gid, reverse, result: result ?? null }, () => [
				`${result ?? "not mapped"}`,
			]);
		});
}

function defineCheck(command: Command): void {
	subcommand(command, "check", "say whether the kernel would take a mapping", ["text"]).action(
		(text: string, options: TextOptions) => {
			const mapping = readMapping(text, options).fit();
			return print(
				options.json,
				{ valid: true, text: mapping.toString(), size: mapping.size, mapping },
				() => ["valid", ...mappingLines(mapping, "inside", "outside")],
			);
		},
	);
}

function defineDraw(command: Command): void {
	subcommand(command, "draw", "draw a mapping", ["text"])
		.option("--svg <file>", "write an SVG file instead; - for standard output")
		.action((text: string, options: TextOptions & { svg?: string }) => {
			const mapping = readMapping(text, options);
			const { svg, json } = options;
			if (svg === undefined) {
				const drawing = drawText(mapping);
				return print(json, { drawing, mapping }, () => drawing.split("\n"));
			}
			if (svg === "-") return print(false, undefined, () => drawSvg(mapping).trimEnd().split("\n"));
			writeFileSync(svg, drawSvg(mapping));
			const done = `the drawing is written to ${svg}`;
			return print(json, { svg, mapping }, () => [`written to ${svg}`], done);
		});
}
