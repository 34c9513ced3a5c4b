import { readFileSync } from "node:fs";
import { findOwnProgram, lookUp } from "../find-program.ts";
import { type IdKind, MAX_ID } from "../mapping/extent.ts";
import { disjoint, type SubidRange } from "../mapping/rootless.ts";
import { refuseDenied } from "../permission.ts";
import type { Account } from "./users.ts";

/** The file that has the ranges of a kind. */
export const SUBID_FILES: Record<IdKind, string> = { uid: "/etc/subuid", gid: "/etc/subgid" };

/**
 * The subordinate ranges of a user, without overlaps. If /etc/nsswitch.conf names a directory service for subid, getsubids(1) is
 * run, because it finds the ranges that newuidmap(1) finds. It is not run otherwise, because Node waits indefinitely for the end of a
 * program if another thread reaps every child. If subid includes the files, they are read in either case, because getsubids 4.13
 * ignores lines of /etc/subgid that have the uid of the user, and newgidmap accepts these lines.
 */
export function subordinateRanges(kind: IdKind, user: Account): SubidRange[] {
	const text = nsswitch();
	return disjoint([
		...(namesOthers(text) ? askGetsubids(kind, user) : []),
		// If only a directory service is named, newuidmap(1) does not read the files either.
		...(namesFiles(text) ? readRanges(kind, user) : []),
	]);
}

/** The ranges that getsubids(1) prints. It also fails for a user without ranges. */
function askGetsubids(kind: IdKind, { name }: Account): SubidRange[] {
	// getsubids(1) does not accept "--" before the name.
	if (name === undefined || name.startsWith("-")) return [];
	const program = findOwnProgram("getsubids");
	if (!program?.executable) return [];
	const { status, stdout } = lookUp(program.found, kind === "gid" ? ["-g", name] : [name]);
	return status === 0 ? parseGetsubids(stdout) : [];
}

/** Parses lines "0: NAME FIRST COUNT", from the end of each line, because the name may have any character. */
export function parseGetsubids(text: string): SubidRange[] {
	return text.split("\n").flatMap((line) => {
		const [, first, size] = / (\d+) (\d+)$/.exec(line) ?? [];
		return range(Number(first), Number(size));
	});
}

function nsswitch(): string {
	try {
		return readFileSync("/etc/nsswitch.conf", "utf8");
	} catch (error) {
		refuseDenied(error, "/etc/nsswitch.conf");
		return "";
	}
}

/** The sources of subid in the text of nsswitch.conf(5); by default "files". */
function sourcesIn(text: string): string {
	return /^[^\S\n]*subid:([^#\n]*)/m.exec(text)?.[1] ?? "files";
}

/** Returns true if subid ranges are read from the files. */
export function namesFiles(text: string): boolean {
	return /\bfiles\b/.test(sourcesIn(text));
}

function namesOthers(text: string): boolean {
	return sourcesIn(text).trim() !== "files";
}

function readRanges(kind: IdKind, user: Account): SubidRange[] {
	return parseSubidFile(readFile(kind), user);
}

/** The ranges that the file assigns to any user. */
export function grantedRanges(kind: IdKind): SubidRange[] {
	return parseLines(readFile(kind), () => true);
}

function readFile(kind: IdKind): string {
	try {
		return readFileSync(SUBID_FILES[kind], "utf8");
	} catch (error) {
		refuseDenied(error, SUBID_FILES[kind]);
		return "";
	}
}

/**
 * The ranges of the lines that have the name or the uid of a user. A line that newuidmap(1) cannot parse has no range. newuidmap
 * ignores the text after a third colon, and ignores a line with a carriage return or a blank at its end.
 */
export function parseSubidFile(text: string, { name, uid }: Pick<Account, "name" | "uid">): SubidRange[] {
	// The owner is a user in both files: subgid(5) names users, not groups.
	return parseLines(text, (owner) => owner === name || owner === String(uid));
}

function parseLines(text: string, isWanted: (owner: string) => boolean): SubidRange[] {
	return text.split("\n").flatMap((line) => {
		const [owner = "", first = "", size = ""] = line.split(":");
		return owner !== "" && isWanted(owner) ? range(fileNumber(first), fileNumber(size)) : [];
	});
}

/**
 * Parses a number as newuidmap(1) does, with strtoul(3) and any base: "010" is 8 and "0x10" is 16. Returns NaN for text that
 * newuidmap refuses, also for numbers of more than 64 bits.
 */
function fileNumber(text: string): number {
	const digits = /^[ \t\v\f\r]*\+?(0x[\da-f]+|0[0-7]*|[1-9]\d*)$/i.exec(text)?.[1];
	if (digits === undefined) return Number.NaN;
	const value = BigInt(/^0[0-7]/.test(digits) ? `0o${digits}` : digits);
	return value >= 1n << 64n ? Number.NaN : Number(value);
}

/** The part of a range that the kernel can map, or none. newuidmap(1) treats a range that ends above 64 bits as empty. */
function range(first: number, count: number): SubidRange[] {
	if (first + count > 2 ** 64) return [];
	const size = Math.min(count, MAX_ID + 1 - first);
	return size > 0 ? [{ first, size }] : [];
}
