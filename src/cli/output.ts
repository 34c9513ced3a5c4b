import { writeFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { isatty } from "node:tty";
import { type IdMap, type Mapping, UsernsError, type UsernsErrorCode } from "../index.ts";
import { commandWords } from "./command-words.ts";

/** Exit statuses of the command. One that answers a question has those of grep(1) and test(1): 1 for no, 2 for a failure. */
export const FAILED = 1;
export const NO = 1;
export const WRONG_USAGE = 2;
export const NO_ANSWER = 2;
/** The help about the statuses of a command that answers a question. */
export const STATUS_HELP = "Exit status: 0 for yes, 1 for no, 2 if there is no answer because of an error.";
/** 128 + SIGPIPE: the status that a shell reports for a program which SIGPIPE ended. Node ignores the signal. */
export const BROKEN_PIPE = 141;

const [OUTPUT, ERRORS] = [1, 2];

/** True if the arguments were wrong, so that the command did nothing. */
export function isWrongUsage(error: unknown): boolean {
	const code = error instanceof UsernsError || error instanceof CommandError ? error.code : undefined;
	return code === "ERR_USERNS_INVALID_ARGUMENT" || code === "ERR_USERNS_INVALID_MAPPING";
}

/**
 * Escapes the characters of an output line that a terminal interprets, or that change how the line reads: control and
 * format characters, line separators, lone surrogates. Other users choose the names of files, mounts and file systems,
 * so every line and every cell of every command passes through this function.
 */
export function printable(line: string): string {
	return line.replaceAll(
		/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
		(character) => `\\u{${(character.codePointAt(0) as number).toString(16)}}`,
	);
}

/** JSON of a value, with those characters escaped that JSON.stringify() does not escape: U+007F and above. */
export function jsonText(value: unknown): string {
	return JSON.stringify(value, null, 2).replaceAll(/[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
		Array.from(
			{ length: character.length },
			(_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
		).join(""),
	);
}

/** A write to standard output failed after the command had done its work. */
export class OutputError extends Error {
	readonly brokenPipe: boolean;

	constructor(done: string, cause: unknown) {
		const { code, message } = cause as NodeJS.ErrnoException;
		super(`${done}; the result cannot be written to standard output: ${message}`, { cause });
		this.brokenPipe = code === "EPIPE";
	}
}

/**
 * Writes the whole text. write(2) can be short on a full disk, and fails with EAGAIN on a pipe that another program made
 * non-blocking.
 */
async function write(descriptor: number, text: string): Promise<void> {
	const bytes = Buffer.from(text);
	for (let at = 0; at < bytes.length; ) {
		try {
			at += writeSync(descriptor, bytes, at);
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
			await sleep(10);
		}
	}
}

/** The first words of a write error of a command that changes nothing. */
const NOTHING = "nothing was changed";

/** Writes text to standard output. The message of a write error begins with `done`: what the command has done. */
export async function printText(text: string, done: string = NOTHING): Promise<void> {
	try {
		await write(OUTPUT, text);
	} catch (cause) {
		throw new OutputError(done, cause);
	}
}

/**
 * Prints a result on standard output: with --json as one JSON value, otherwise as lines. `done` is what the command has
 * done; a write error does not undo it.
 */
export async function print(
	json: boolean | undefined,
	value: unknown,
	lines: () => readonly string[],
	done: string = NOTHING,
): Promise<void> {
	const out = json ? [jsonText(value)] : lines().map(printable);
	if (out.length > 0) await printText(`${out.join("\n")}\n`, done);
}

/** Reports a failure. */
export async function printFailure(error: unknown, json: boolean): Promise<void> {
	const { stdout, stderr } = failureText(error, json);
	// If standard error cannot be written either, only the exit status reports the failure.
	await write(OUTPUT, stdout).catch(() => {});
	await printErrors(stderr);
}

/** A failure as text for standard error, and with --json also as `{"error": …}` for standard output. */
export function failureText(error: unknown, json: boolean): { stdout: string; stderr: string } {
	const data = asData(error);
	const { message, hint } = data;
	const lines = [`userns: ${message}`, ...(hint === undefined ? [] : [`hint: ${hint}`])];
	return {
		stdout: json ? `${jsonText({ error: data })}\n` : "",
		stderr: `${lines.map(printable).join("\n")}\n`,
	};
}

/** Writes text to standard error. */
export async function printErrors(text: string): Promise<void> {
	await write(ERRORS, text).catch(() => {});
}

/** A failure that the command finds, not the library. */
export class CommandError extends Error {
	readonly hint: string;
	readonly code: UsernsErrorCode | undefined;

	constructor(message: string, hint: string, code?: UsernsErrorCode) {
		super(message);
		this.hint = hint;
		this.code = code;
	}
}

/** The reason of a system error of Node, without the call and the path: `ENOENT (no such file or directory)`. */
export function reasonOf(error: unknown): string {
	const message = error instanceof Error ? error.message : String(error);
	return message.replace(/^(E[A-Z0-9]+): (.*?), \w+(?: '.*')?$/s, "$1 ($2)");
}

/** The fields of an error. A message and a hint of the library are translated into the words of the command. */
function asData(error: unknown): Record<string, unknown> {
	if (error instanceof CommandError) {
		const { code, message, hint } = error;
		return { ...(code !== undefined && { code }), message, hint };
	}
	if (!(error instanceof UsernsError))
		return { message: error instanceof Error ? error.message : String(error) };
	return { ...error.toJSON(), message: commandWords(error.message), hint: commandWords(error.hint) };
}

/**
 * Rows as columns of equal width, two spaces apart, without blanks at the end of a line. If a line needs more than `most` columns
 * of a terminal, the cells of these table columns are shortened in the middle, one column after the other.
 */
export function table(
	rows: readonly (readonly string[])[],
	most: number = Number.POSITIVE_INFINITY,
	flexible: readonly number[] = [0],
): string[] {
	let cells = rows.map((row) => row.map(printable));
	let lines = aligned(cells);
	for (const column of flexible) {
		const surplus = widest(lines) - most;
		if (surplus <= 0) break;
		const room = Math.max(LEAST_ROOM, widest(cells.map((row) => row[column] ?? "")) - surplus);
		cells = cells.map((row) => row.map((cell, i) => (i === column ? shortened(cell, room) : cell)));
		lines = aligned(cells);
	}
	return lines;
}

/** The least width of a column that is shortened. */
const LEAST_ROOM = 20;

/** Signs that take two columns of a terminal: East Asian characters and emoji. */
const WIDE =
	/[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;

/** The columns of a terminal that a text takes. A combining mark takes none. */
function widthOf(text: string): number {
	if (/^[\x20-\x7e]*$/.test(text)) return text.length;
	let width = 0;
	for (const sign of text) width += WIDE.test(sign) ? 2 : /\p{M}/u.test(sign) ? 0 : 1;
	return width;
}

function widest(texts: readonly string[]): number {
	return texts.reduce((most, text) => Math.max(most, widthOf(text)), 0);
}

function aligned(cells: readonly (readonly string[])[]): string[] {
	const widths: number[] = [];
	for (const row of cells) {
		// Nothing follows the last cell of a row, such as the reason for an unknown map, so it needs no room in the other rows.
		row.slice(0, -1).forEach((cell, column) => {
			widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
		});
	}
	return cells.map((row) =>
		row
			.map((cell, column) => cell + " ".repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell))))
			.join("  ")
			.trimEnd(),
	);
}

/** Breaks a line at blanks so that it has at most `width` characters, if its words allow it. The next lines begin with `indent` blanks. */
export function wrap(line: string, width: number, indent: number): string[] {
	const lines: string[] = [];
	let rest = line;
	while (rest.length > width) {
		const inside = rest.lastIndexOf(" ", width);
		const at = inside > indent ? inside : rest.indexOf(" ", width);
		if (at < 0) break;
		lines.push(rest.slice(0, at).trimEnd());
		rest = `${" ".repeat(indent)}${rest.slice(at + 1)}`;
	}
	return [...lines, rest.trimEnd()];
}

/** A name with its start and its end, which differ more between mounts than the middle. */
export function shortened(text: string, width: number): string {
	if (widthOf(text) <= width) return text;
	const signs = [...text];
	const end = fitting(signs.toReversed(), Math.ceil((width - 1) / 2));
	const start = fitting(signs, width - 1 - widthOf(end.join("")));
	return [...start, "…", ...end.reverse()].join("");
}

/** The first signs that fit. */
function fitting(signs: readonly string[], width: number): string[] {
	let left = width;
	const over = signs.findIndex((sign) => {
		left -= widthOf(sign);
		return left < 0;
	});
	return signs.slice(0, over < 0 ? signs.length : over);
}

/** The width of the terminal that standard output is; undefined for a file or a pipe. */
export function terminalWidth(): number | undefined {
	return (isatty(OUTPUT) && process.stdout.columns) || undefined;
}

/** A mapping as a table, under the two headings. User and group IDs share the rows if their extents are the same. */
export function mappingLines(mapping: Mapping, first: string, second: string): string[] {
	return table([["", first, second, "IDs"], ...mappingRows(mapping)]);
}

/** The rows of that table: the kind, the two ranges, the number of IDs. */
export function mappingRows({ uidMappings, gidMappings }: Mapping): string[][] {
	if (sameRows(uidMappings, gidMappings)) return rangeRows("uid, gid", uidMappings);
	return [...rangeRows("uid", uidMappings), ...rangeRows("gid", gidMappings)];
}

function sameRows(a: readonly Readonly<IdMap>[], b: readonly Readonly<IdMap>[]): boolean {
	return a.length === b.length && JSON.stringify(a) === JSON.stringify(b);
}

function rangeRows(kind: string, extents: readonly Readonly<IdMap>[]): string[][] {
	if (extents.length === 0) return [[kind, "none", "none", "0"]];
	return extents.map(({ containerID, hostID, size }, index) => [
		index === 0 ? kind : "",
		range(containerID, size),
		range(hostID, size),
		`${size}`,
	]);
}

function range(first: number, size: number): string {
	return size === 1 ? `${first}` : `${first}–${first + size - 1}`;
}

/** Writes an SVG file, or prints it for the path "-". `value` is the result as JSON. */
export async function printDrawing(
	path: string,
	drawing: string,
	json: boolean | undefined,
	value: unknown,
): Promise<void> {
	if (path === "-") return print(false, undefined, () => drawing.trimEnd().split("\n"));
	try {
		writeFileSync(path, drawing);
	} catch (cause) {
		const hint = "Name a file in an existing directory to which the caller may write.";
		throw new CommandError(`cannot write the drawing to ${JSON.stringify(path)}: ${reasonOf(cause)}`, hint);
	}
	await print(json, value, () => [`written to ${path}`], `the drawing is written to ${path}`);
}
