import { invalidMapping, show } from "../errors.ts";
import { countDigits, writeExtents } from "./canonical-text.ts";
import { canonical, checkBounds, type Extents, type IdKind, type IdMap, MAX_ID } from "./extent.ts";
import { readUpTo, valueChecked } from "./text-errors.ts";

/** `UID_GID_MAP_MAX_EXTENTS` in include/linux/user_namespace.h, since Linux 4.15. */
export const MAX_LINES = 340;

/** map_write() in kernel/user_namespace.c refuses a write of a page or more, and the smallest page has 4096 bytes. */
export const MAX_BYTES = 4095;

/**
 * The text to write to /proc/PID/uid_map: a line for each extent, in ASCII. It has no newline at the end, because each byte counts
 * towards the limit of the kernel.
 */
export function procText(extents: Extents): string {
	return writeExtents(extents, "", " ", "\n");
}

/** The length of the text that procText() returns. */
function procBytes(extents: Extents): number {
	let bytes = extents.length - 1;
	for (const { containerID, hostID, size } of extents)
		bytes += 2 + countDigits(containerID) + countDigits(hostID) + countDigits(size);
	return bytes;
}

/** Throws `ERR_USERNS_INVALID_MAPPING` if the kernel would refuse the number of the extents or the length of their text. */
export function checkLimits(kind: IdKind, extents: Extents): void {
	if (extents.length > MAX_LINES) {
		throw invalidMapping(
			`${kind}Mappings: ${extents.length} extents, but the kernel accepts at most ${MAX_LINES}`,
			"Use fewer, longer ranges. Extents that are adjacent in both columns are already merged.",
		);
	}
	if (extents.length < 124) return; // a line has at most 33 bytes, so 123 lines always fit
	const bytes = procBytes(extents);
	if (bytes > MAX_BYTES) {
		throw invalidMapping(
			`${kind}Mappings: ${extents.length} extents make ${bytes} bytes of text, but the kernel accepts at most ${MAX_BYTES} in one write`,
			"Use fewer extents, or smaller numbers.",
		);
	}
}

/** Parses the text of a /proc/PID/uid_map or gid_map into a canonical list. Any white space separates the three columns. */
export function parseProcText(kind: IdKind, text: string): Extents {
	return canonical(kind, parseProcLines(kind, text));
}

/** Parses the same text into one extent for each line, in the order of the lines and not merged. */
export function parseProcLines(kind: IdKind, text: string): IdMap[] {
	return parseKernelLines(text) ?? parseLines(kind, text);
}

/**
 * Parses a text as the kernel writes it: valid lines, blanks before and between the numbers, and no blank after the last number.
 * Returns undefined for any other text. It uses no regular expression, because one that V8 has not compiled yet takes as long as
 * a dozen system calls.
 */
export function parseKernelLines(text: string): IdMap[] | undefined {
	const extents: IdMap[] = [];
	let containerID = 0;
	let hostID = 0;
	let number = 0;
	let digits = 0;
	let field = 0;
	for (let at = 0; at < text.length; at++) {
		const code = text.charCodeAt(at);
		if (code >= 0x30 && code <= 0x39) {
			if (digits === 10 || (digits === 1 && number === 0)) return undefined;
			number = number * 10 + code - 0x30;
			digits++;
			continue;
		}
		if (code === 0x20) {
			if (digits === 0) continue;
			if (field === 0) containerID = number;
			else if (field === 1) hostID = number;
			else return undefined;
			field++;
		} else if (code === 0x0a && field === 2 && digits > 0) {
			const room = MAX_ID + 1 - number;
			if (number === 0 || containerID > room || hostID > room) return undefined;
			extents.push({ containerID, hostID, size: number });
			field = 0;
		} else return undefined;
		number = 0;
		digits = 0;
	}
	return field === 0 && digits === 0 ? extents : undefined;
}

/** The part of a line that could begin three numbers. */
const READABLE = /^\s*(?:\d+(?:\s+\d+(?:\s+\d+)?)?)?/;

/** Parses any other text. Throws `ERR_USERNS_INVALID_MAPPING` with the line that is wrong. */
function parseLines(kind: IdKind, text: string): IdMap[] {
	const extents: IdMap[] = [];
	const lines = text.split("\n");
	for (const [index, line] of lines.entries()) {
		const fields = line.trim();
		if (fields === "") continue;
		const where = `${kind}_map line ${index + 1}`;
		const match = /^(0|[1-9]\d{0,9})\s+(0|[1-9]\d{0,9})\s+(0|[1-9]\d{0,9})$/.exec(fields);
		if (match === null) {
			const read = [...lines.slice(0, index), READABLE.exec(line)?.[0]].join("\n").length;
			const message = `${where}: expected three numbers "containerID hostID size", found ${show(fields)}`;
			throw readUpTo(invalidMapping(message), read);
		}
		const extent = { containerID: Number(match[1]), hostID: Number(match[2]), size: Number(match[3]) };
		valueChecked(() => checkBounds(extent, where));
		extents.push(extent);
	}
	return extents;
}
