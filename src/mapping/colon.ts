import { invalidMapping, show, type UsernsError } from "../errors.ts";
import { checkBounds, type Extents, type IdMap, sameExtents, showExtent } from "./extent.ts";

/** What a text says, before it is put in canonical form. */
export interface ParsedMaps {
	uid: IdMap[];
	gid: IdMap[];
}

/**
 * The `colon` grammar: `[u:|g:|b:]containerID:hostID:size[,…]`. `u:` maps user IDs, `g:` group IDs, `b:` or no
 * prefix both. Decimal digits only: no sign, no leading zero (the kernel reads `01750` as 1750 and C as 1000), no
 * white space.
 */
export function parseColon(text: string): ParsedMaps {
	const maps: ParsedMaps = { uid: [], gid: [] };
	let start = 0;
	for (let index = 0; start <= text.length; index++) {
		const comma = text.indexOf(",", start);
		const end = comma < 0 ? text.length : comma;
		parseExtent(text, start, end, index, maps);
		start = end + 1;
	}
	return maps;
}

function parseExtent(text: string, start: number, end: number, index: number, maps: ParsedMaps): void {
	let at = start;
	let kinds = "b";
	const prefix = text[at];
	if (text[at + 1] === ":" && (prefix === "u" || prefix === "g" || prefix === "b")) {
		kinds = prefix;
		at += 2;
	}
	const numbers: number[] = [];
	for (const name of ["containerID", "hostID", "size"]) {
		const from = at;
		while (at < end && isDigit(text.charCodeAt(at))) at++;
		const digits = text.slice(from, at);
		if (digits === "") throw expected(text, from, end, index, `${name}, a decimal number`);
		if (digits.length > 1 && digits[0] === "0") {
			throw expected(text, from, end, index, `${name} without a leading zero`);
		}
		const value = digits.length > 10 ? Number.POSITIVE_INFINITY : Number(digits);
		if (value > 0xffffffff) throw expected(text, from, end, index, `${name} in 32 bits, at most 4294967295`);
		numbers.push(value);
		if (name === "size") break;
		if (at >= end || text[at] !== ":") throw expected(text, at, end, index, `":" behind ${name}`);
		at++;
	}
	if (at < end) throw expected(text, at, end, index, `"," or the end behind size`);
	const [containerID, hostID, size] = numbers as [number, number, number];
	checkBounds({ containerID, hostID, size }, `extent ${index + 1} at column ${start + 1}`);
	if (kinds !== "g") maps.uid.push({ containerID, hostID, size });
	if (kinds !== "u") maps.gid.push({ containerID, hostID, size });
}

function isDigit(code: number): boolean {
	return code >= 48 && code <= 57;
}

function expected(text: string, at: number, end: number, index: number, what: string): UsernsError {
	const found = at >= end ? (at >= text.length ? "the end of the text" : '","') : show(text.slice(at, end));
	return invalidMapping(
		`mapping text, column ${at + 1} (extent ${index + 1}): expected ${what}, found ${found}`,
		'Write "containerID:hostID:size", with "u:" or "g:" before it for one kind only, and "," between extents: 0:100000:65536.',
	);
}

/** The text form that parseColon() reads; equal canonical lists always print equal texts. */
export function printColon(uid: Extents, gid: Extents): string {
	if (sameExtents(uid, gid)) return printKind("", uid);
	if (gid.length === 0) return printKind("u:", uid);
	if (uid.length === 0) return printKind("g:", gid);
	return `${printKind("u:", uid)},${printKind("g:", gid)}`;
}

function printKind(prefix: string, extents: Extents): string {
	let text = "";
	for (const extent of extents) text += `${text === "" ? "" : ","}${prefix}${showExtent(extent)}`;
	return text;
}
