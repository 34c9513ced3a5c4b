import { invalidMapping, show } from "../errors.ts";
import { countDigits, writeExtents } from "./canonical-text.ts";
import { canonical, checkBounds, type Extents, type IdKind, type IdMap, MAX_ID } from "./extent.ts";

/** `UID_GID_MAP_MAX_EXTENTS` in include/linux/user_namespace.h, since Linux 4.15. */
export const MAX_LINES = 340;

/** map_write() refuses a write of a page or more (kernel/user_namespace.c), and the smallest page has 4096 bytes. */
export const MAX_BYTES = 4095;

/**
 * The text that is written to /proc/PID/uid_map: one line an extent, no newline at the end, since each byte counts
 * against the kernel's limit. ASCII only, so that its length is its size in bytes.
 */
export function procText(extents: Extents): string {
	return writeExtents(extents, "", " ", "\n");
}

/** The length of procText(), without the text. */
function procBytes(extents: Extents): number {
	let bytes = extents.length - 1;
	for (const { containerID, hostID, size } of extents)
		bytes += 2 + countDigits(containerID) + countDigits(hostID) + countDigits(size);
	return bytes;
}

/** Throws when the kernel would refuse the extents for their number or for the length of their text. */
export function checkLimits(kind: IdKind, extents: Extents): void {
	if (extents.length > MAX_LINES) {
		throw invalidMapping(
			`${kind}Mappings: ${extents.length} extents, but the kernel takes at most ${MAX_LINES}`,
			"Use fewer, longer ranges; extents that continue each other in both columns are already counted as one.",
		);
	}
	if (extents.length < 124) return; // no line is longer than 33 bytes, so that 123 of them always fit
	const bytes = procBytes(extents);
	if (bytes > MAX_BYTES) {
		throw invalidMapping(
			`${kind}Mappings: ${extents.length} extents make a text of ${bytes} bytes, but the kernel takes at most ${MAX_BYTES} in one write`,
			"Use fewer extents, or smaller numbers.",
		);
	}
}

/** Reads the text of a /proc/PID/uid_map or gid_map. White space of any kind separates the three columns. */
export function parseProcText(kind: IdKind, text: string): Extents {
	return canonical(kind, parseProcLines(kind, text));
}

/** The extents of such a text line by line, as they stand: two that continue each other stay two. */
export function parseProcLines(kind: IdKind, text: string): IdMap[] {
	return parseKernelLines(text) ?? parseLines(kind, text);
}

/**
 * A text that is right and has nothing but blanks between its numbers and nothing behind the last, as the kernel's own;
 * undefined for any other. In one go and without a regular expression, which takes as long as a dozen system calls where
 * it is not hot.
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

/** Any other text, and what is wrong with it. */
function parseLines(kind: IdKind, text: string): IdMap[] {
	const extents: IdMap[] = [];
	let number = 0;
	for (const line of text.split("\n")) {
		number++;
		const fields = line.trim();
		if (fields === "") continue;
		const match = /^(0|[1-9]\d{0,9})\s+(0|[1-9]\d{0,9})\s+(0|[1-9]\d{0,9})$/.exec(fields);
		if (match === null) {
			throw invalidMapping(
				`${kind}_map line ${number}: expected three numbers "containerID hostID size", found ${show(fields)}`,
			);
		}
		const extent = { containerID: Number(match[1]), hostID: Number(match[2]), size: Number(match[3]) };
		checkBounds(extent, `${kind}_map line ${number}`);
		extents.push(extent);
	}
	return extents;
}
