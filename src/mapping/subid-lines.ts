import { show } from "../errors.ts";
import { MAX_ID } from "./extent.ts";
import type { SubidRange } from "./rootless.ts";

/** A line of subuid(5) or subgid(5) that is not empty. It has either a range or a flaw. */
export interface SubidLine {
	/** From 1. */
	number: number;
	text: string;
	/** The text before the first colon: a login name or a uid. */
	owner: string;
	/** The IDs that newuidmap(1) permits to the owner, except those that cannot be mapped. */
	range?: SubidRange;
	/** Why newuidmap permits no ID because of the line, to be read after "line 3 ". */
	flaw?: string;
	/** True if the only flaw is a count of 0. */
	isEmpty?: boolean;
}

/** The size of the buffer for a line in subordinateio.c of shadow. */
const MOST_BYTES = 1024;

/**
 * Reads the lines as newuidmap(1) of shadow 4.13 to 4.17 does. Later versions ignore two more kinds of lines: those with a third
 * colon (since 4.18), and those with IDs above 32 bits (since 4.20). A creation with such a range is then refused.
 */
export function readSubidLines(text: string): SubidLine[] {
	const lines: SubidLine[] = [];
	let number = 0;
	// With a NUL byte in the last line, shadow cannot read the file.
	const nul = text.lastIndexOf("\0");
	if (nul >= 0 && text.indexOf("\n", nul) === text.length - 1) return [];
	// shadow appends the next line to the text before a NUL byte.
	for (const line of text.replaceAll(/\0[^\n]*\n?/g, "").split("\n")) {
		number++;
		if (line !== "") lines.push({ number, text: line, ...readLine(line) });
	}
	return lines;
}

type Read = Pick<SubidLine, "owner" | "range" | "flaw" | "isEmpty">;

function readLine(line: string): Read {
	const [owner = "", first, count] = line.split(":", 3);
	if (owner === "") return { owner, flaw: "has no user" };
	if (/^[+-]/.test(owner)) return { owner, flaw: `begins with "${owner[0]}", as an entry of NIS does` };
	if (new TextEncoder().encode(line).length >= MOST_BYTES) {
		return { owner, flaw: `is longer than ${MOST_BYTES - 1} bytes` };
	}
	if (count === undefined && first !== undefined && /^\s*\d+-\d+\s*$/.test(first)) {
		return { owner, flaw: `has ${show(first)} in place of the first ID, a colon and the count` };
	}
	if (first === undefined || count === undefined) return { owner, flaw: "has fewer than three fields" };
	const from = readNumber(first);
	if (from === undefined) return { owner, flaw: numberFlaw("first ID", first) };
	const size = readNumber(count);
	if (size === undefined) return { owner, flaw: numberFlaw("count", count) };
	return { owner, ...readRange(from, size) };
}

/**
 * Parses a number as strtoul(3) does, with any base: "010" is 8 and "0x10" is 16. Returns undefined for text behind the number, for
 * more than 64 bits and for a negative number. shadow 4.13 adds 2⁶⁴ to a negative number, which can permit every ID; later versions
 * refuse it.
 */
function readNumber(text: string): bigint | undefined {
	const [, sign, digits] = /^[ \t\v\f\r]*([+-]?)(0x[\da-f]+|0[0-7]*|[1-9]\d*)$/i.exec(text) ?? [];
	if (digits === undefined) return undefined;
	const value = BigInt(/^0[0-7]/.test(digits) ? `0o${digits}` : digits);
	return value >= 1n << 64n || (sign === "-" && value > 0n) ? undefined : value;
}

function numberFlaw(name: string, text: string): string {
	if (text === "") return `has an empty field in place of the ${name}`;
	const trimmed = text.replace(/[ \t\v\f\r]+$/, "");
	if (readNumber(trimmed) !== undefined) {
		const what = text.endsWith("\r") ? "carriage return" : "blank";
		return `has a ${what} after the ${name}`;
	}
	return `has ${show(text)} in place of the ${name}`;
}

/** A count of 0 gives no ID. shadow before 4.20 takes 0:0 for every ID, which is a fault. */
function readRange(first: bigint, count: bigint): Omit<Read, "owner"> {
	if (count === 0n) return { flaw: "has the count 0", isEmpty: true };
	// shadow computes the last ID in 64 bits, and a last ID below the first one makes the range empty.
	if (first > BigInt(MAX_ID) || first + count > 1n << 64n) return { flaw: `has no ID up to ${MAX_ID}` };
	const from = Number(first);
	return { range: { first: from, size: Math.min(Number(count), MAX_ID + 1 - from) } };
}
