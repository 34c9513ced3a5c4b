import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type IdMap, type Mapping, UsernsError } from "../index.ts";

/** Exit statuses of the command: 0 done, 1 failed, 2 wrong usage. */
export const FAILED = 1;
export const WRONG_USAGE = 2;
/** 128 + SIGPIPE, the status that a shell reports for a program that the signal ended. Node ignores the signal. */
const BROKEN_PIPE = 141;

const [OUTPUT, ERRORS] = [1, 2];

/** True when the words of the call were wrong, so that nothing was tried. */
export function isWrongUsage(error: unknown): boolean {
	return (
		error instanceof UsernsError &&
		(error.code === "ERR_USERNS_INVALID_ARGUMENT" || error.code === "ERR_USERNS_INVALID_MAPPING")
	);
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

/**
 * JSON of the same value with those characters escaped. JSON.stringify() itself escapes those below U+0020 and lone
 * surrogates.
 */
export function jsonText(value: unknown): string {
	return JSON.stringify(value, null, 2).replaceAll(/[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
		Array.from(
			{ length: character.length },
			(_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
		).join(""),
	);
}

/** A write to standard output failed after the command had done its work. */
class OutputError extends Error {
	readonly brokenPipe: boolean;

	constructor(done: string, cause: unknown) {
		const { code, message } = cause as NodeJS.ErrnoException;
		super(`${done}; the result cannot be written to standard output: ${message}`, { cause });
		this.brokenPipe = code === "EPIPE";
	}
}

/**
 * Writes all of the text. A full disk takes a part of it, and a pipe that another program made non-blocking may take
 * nothing at first.
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

/** What the error says for a command that changes nothing. */
const NOTHING = "nothing was changed";

/** Writes text to standard output. `done` is what the command has done by then, for the error. */
export async function printText(text: string, done: string = NOTHING): Promise<void> {
	try {
		await write(OUTPUT, text);
	} catch (cause) {
		throw new OutputError(done, cause);
	}
}

/**
 * Prints a result: with --json as one JSON value on standard output, otherwise as lines. `done` is what the command has
 * done by then; it stays done if the result cannot be written.
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

/** Tells about a failure on standard error, and with --json as `{"error": …}` on standard output too. */
export async function printFailure(error: unknown, json: boolean): Promise<void> {
	const message = error instanceof Error ? error.message : String(error);
	// If standard error cannot be written either, only the exit status reports the failure.
	if (json) await write(OUTPUT, `${jsonText({ error: asData(error, message) })}\n`).catch(() => {});
	const hint = error instanceof UsernsError ? error.hint : undefined;
	const lines = [`userns: ${message}`, ...(hint === undefined ? [] : [`hint: ${hint}`])];
	await printErrors(`${lines.map(printable).join("\n")}\n`);
}

/** Writes text to standard error. */
export async function printErrors(text: string): Promise<void> {
	await write(ERRORS, text).catch(() => {});
}

/** The exit status of a command whose result could not be written; undefined for every other error. */
export async function outputStatus(error: unknown): Promise<number | undefined> {
	if (!(error instanceof OutputError)) return undefined;
	if (error.brokenPipe) return BROKEN_PIPE;
	await printFailure(error, false);
	return FAILED;
}

function asData(error: unknown, message: string): Record<string, unknown> {
	return error instanceof UsernsError ? error.toJSON() : { message };
}

/** Rows as columns of equal width, two spaces apart, nothing behind the last one. */
export function table(rows: readonly (readonly string[])[]): string[] {
	const cells = rows.map((row) => row.map(printable));
	const widths: number[] = [];
	for (const row of cells) {
		row.forEach((cell, column) => {
			widths[column] = Math.max(widths[column] ?? 0, cell.length);
		});
	}
	return cells.map((row) =>
		row
			.map((cell, column) => cell.padEnd(widths[column] ?? 0))
			.join("  ")
			.trimEnd(),
	);
}

/** For every command that takes --map. */
export const MAP_HELP = `
MAP is [u:|g:|b:]containerID:hostID:size[,…]: u: for user IDs, g: for group IDs,
b: or nothing for both. In a namespace, containerID is the ID inside and hostID
the ID outside; for a mount, containerID is the ID on disk and hostID the ID
visible through the mount. 0:2100000000:65536 shows what root owns on disk as
owned by 2100000000.`;

/** The two columns of a mapping under headings that fit the use, both kinds as one where they are the same. */
export function mappingLines(mapping: Mapping, first: string, second: string): string[] {
	return table([["", first, second, "IDs"], ...mappingRows(mapping)]);
}

/** The same as rows of four: the kind, the two columns, how many IDs. */
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
