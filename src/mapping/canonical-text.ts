import { Buffer } from "node:buffer";
import type { Extents, IdKind, IdMap } from "./extent.ts";

const ZERO = 0x30;
const COLON = 0x3a;
const COMMA = 0x2c;

/** For fewer extents than this, joining strings is faster than writing bytes. */
const FEW = 4;
/** Three numbers of ten digits, two separators, a letter with its colon, and the separator before the next extent. */
const MOST_BYTES = 35;
/** Holds the texts of nearly all mappings: the kernel accepts at most 340 extents of a kind. Each use ends before another begins. */
const scratch: Buffer = Buffer.allocUnsafeSlow(16384);

function room(bytes: number): Buffer {
	return bytes <= scratch.length ? scratch : Buffer.allocUnsafeSlow(bytes);
}

/**
 * Writes extents as text: `letter`, then the three numbers with `inner` between them, and `outer` between the extents.
 * All three are ASCII. Writing bytes takes half the time of joining strings: 12 µs for 340 extents.
 */
export function writeExtents(
	extents: Extents,
	letter: "" | "u:" | "g:" | "b:",
	inner: string,
	outer: string,
): string {
	if (extents.length < FEW) return joinExtents(extents, letter, inner, outer);
	const bytes = room(extents.length * MOST_BYTES);
	const between = inner.charCodeAt(0);
	const apart = outer.charCodeAt(0);
	const kind = letter === "" ? 0 : letter.charCodeAt(0);
	let at = 0;
	for (let i = 0; i < extents.length; i++) {
		const { containerID, hostID, size } = extents[i] as IdMap;
		if (i > 0) bytes[at++] = apart;
		if (kind !== 0) {
			bytes[at++] = kind;
			bytes[at++] = COLON;
		}
		at = writeNumber(bytes, at, containerID);
		bytes[at++] = between;
		at = writeNumber(bytes, at, hostID);
		bytes[at++] = between;
		at = writeNumber(bytes, at, size);
	}
	return bytes.toString("latin1", 0, at);
}

function joinExtents(extents: Extents, letter: string, inner: string, outer: string): string {
	let text = "";
	for (const { containerID, hostID, size } of extents) {
		text += `${text === "" ? "" : outer}${letter}${containerID}${inner}${hostID}${inner}${size}`;
	}
	return text;
}

/** Returns the position after the number. */
function writeNumber(bytes: Buffer, at: number, number: number): number {
	const end = at + countDigits(number);
	let position = end;
	let rest = number;
	// Integer division is faster, and is exact below 2^31 only.
	for (; rest > 0x7fffffff; rest = Math.floor(rest / 10)) bytes[--position] = ZERO + (rest % 10);
	while (position > at) {
		const tenth = (rest / 10) | 0;
		bytes[--position] = ZERO + rest - tenth * 10;
		rest = tenth;
	}
	return end;
}

/** The number of decimal digits of a whole number. */
export function countDigits(number: number): number {
	let count = 1;
	for (let power = 10; power <= number; power *= 10) count++;
	return count;
}

/** True for the canonical text of a mapping whose two kinds are equal, since only that has no letters. */
export function isForBoth(text: string): boolean {
	const first = text.charCodeAt(0);
	return first >= ZERO && first < COLON;
}

/**
 * The extents of one kind in the canonical `colon` text of a mapping. Nothing is checked, so the text must be one that
 * `printColon` returned.
 */
export function readCanonical(text: string, kind: IdKind): IdMap[] {
	if (isForBoth(text)) return readExtents(text, 0, text.length, 0);
	const group = text.indexOf("g:");
	if (kind === "gid") return group < 0 ? [] : readExtents(text, group, text.length, 2);
	if (group === 0) return [];
	return readExtents(text, 0, group < 0 ? text.length : group - 1, 2); // a comma stands before the first g:
}

/** `letter`: the length of the letter and its colon before each extent. */
function readExtents(text: string, start: number, end: number, letter: number): IdMap[] {
	const bytes = room(end - start + 1);
	const length = bytes.write(start === 0 && end === text.length ? text : text.slice(start, end), "latin1");
	bytes[length] = COMMA;
	const extents: IdMap[] = [];
	let containerID = 0;
	let hostID = 0;
	let number = 0;
	let field = 0;
	for (let at = letter; at <= length; at++) {
		const byte = bytes[at] as number;
		if (byte === COLON) {
			if (field === 0) containerID = number;
			else hostID = number;
			field++;
			number = 0;
		} else if (byte === COMMA) {
			extents.push({ containerID, hostID, size: number });
			field = 0;
			number = 0;
			at += letter;
		} else number = number * 10 + byte - ZERO;
	}
	return extents;
}
