import { readFileSync } from "node:fs";
import { findOwnProgram, lookUp } from "../find-program.ts";
import { type IdKind, MAX_ID } from "../mapping/extent.ts";
import { disjoint, type SubidRange } from "../mapping/rootless.ts";
import type { Account } from "./users.ts";

/** Where the ranges of a kind are written down. */
export const SUBID_FILES: Record<IdKind, string> = { uid: "/etc/subuid", gid: "/etc/subgid" };

/**
 * The subordinate ranges of a user, none twice. Where they can be in a directory service (subid: in /etc/nsswitch.conf)
 * getsubids(1) is asked, for it knows what newuidmap knows. Not elsewhere: where another thread reaps every child,
 * Node waits for ever for a program's end. The files are read all the same where they count: getsubids 4.13 passes over
 * lines of /etc/subgid that have the user's number, and newgidmap takes them.
 */
export function subordinateRanges(kind: IdKind, user: Account): SubidRange[] {
	const text = nsswitch();
	return disjoint([
		...(namesOthers(text) ? askGetsubids(kind, user) : []),
		// Where a directory service alone is named nobody looks at the files, so neither do we.
		...(namesFiles(text) ? readRanges(kind, user) : []),
	]);
}

/** What getsubids(1) says. It fails for a user without ranges, too. */
function askGetsubids(kind: IdKind, { name }: Account): SubidRange[] {
	// It has no "--" before the name.
	if (name === undefined || name.startsWith("-")) return [];
	const program = findOwnProgram("getsubids");
	if (!program?.executable) return [];
	const { status, stdout } = lookUp(program.found, kind === "gid" ? ["-g", name] : [name]);
	return status === 0 ? parseGetsubids(stdout) : [];
}

/** Lines "0: NAME FIRST COUNT": the name may have anything in it, so each is read from the end. */
export function parseGetsubids(text: string): SubidRange[] {
	return text.split("\n").flatMap((line) => {
		const [, first, size] = / (\d+) (\d+)$/.exec(line) ?? [];
		return range(Number(first), Number(size));
	});
}

function nsswitch(): string {
	try {
		return readFileSync("/etc/nsswitch.conf", "utf8");
	} catch {
		return "";
	}
}

/** What nsswitch.conf(5) says of subid; without a word on it the files it is. */
function sourcesIn(text: string): string {
	return /^[^\S\n]*subid:([^#\n]*)/m.exec(text)?.[1] ?? "files";
}

export function namesFiles(text: string): boolean {
	return /\bfiles\b/.test(sourcesIn(text));
}

function namesOthers(text: string): boolean {
	return sourcesIn(text).trim() !== "files";
}

function readRanges(kind: IdKind, user: Account): SubidRange[] {
	return parseSubidFile(readFile(kind), user);
}

/** The ranges that the file assigns to users, all together. */
export function grantedRanges(kind: IdKind): SubidRange[] {
	return parseLines(readFile(kind), () => true);
}

function readFile(kind: IdKind): string {
	try {
		return readFileSync(SUBID_FILES[kind], "utf8");
	} catch {
		return "";
	}
}

/**
 * Every line of the user, by name and by number; a line that newuidmap cannot read gives nothing. What follows a third
 * colon is nothing to it, and a carriage return or blank at the end makes it pass over the line.
 */
export function parseSubidFile(text: string, { name, uid }: Pick<Account, "name" | "uid">): SubidRange[] {
	// Both files are searched by the user, because subgid(5) names users, not groups.
	return parseLines(text, (owner) => owner === name || owner === String(uid));
}

function parseLines(text: string, isWanted: (owner: string) => boolean): SubidRange[] {
	return text.split("\n").flatMap((line) => {
		const [owner = "", first = "", size = ""] = line.split(":");
		return owner !== "" && isWanted(owner) ? range(fileNumber(first), fileNumber(size)) : [];
	});
}

/**
 * A number as newuidmap reads it, with strtoul(3) and any base: "010" is 8 and "0x10" is 16. NaN for what it refuses,
 * more than 64 bits among it.
 */
function fileNumber(text: string): number {
	const digits = /^[ \t\v\f\r]*\+?(0x[\da-f]+|0[0-7]*|[1-9]\d*)$/i.exec(text)?.[1];
	if (digits === undefined) return Number.NaN;
	const value = BigInt(/^0[0-7]/.test(digits) ? `0o${digits}` : digits);
	return value >= 1n << 64n ? Number.NaN : Number(value);
}

/** A range of what the kernel can map, or none: one that ends past 64 bits is empty to newuidmap. */
function range(first: number, count: number): SubidRange[] {
	if (first + count > 2 ** 64) return [];
	const size = Math.min(count, MAX_ID + 1 - first);
	return size > 0 ? [{ first, size }] : [];
}
