import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { type IdKind, MAX_ID } from "../mapping/extent.ts";
import { disjoint, type SubidRange } from "../mapping/rootless.ts";
import { findProgram, LOOKUP_MS } from "../programs.ts";
import type { Account } from "./users.ts";

/** Where the ranges of a kind are written down. */
export const SUBID_FILES: Record<IdKind, string> = { uid: "/etc/subuid", gid: "/etc/subgid" };

/**
 * The subordinate ranges of a user, none twice. getsubids(1) is asked where it is installed, for it knows what newuidmap
 * knows: the ranges can be in a directory service (subid: in /etc/nsswitch.conf). The files are read all the same where
 * they count: getsubids 4.13 passes over lines of /etc/subgid that have the user's number, and newgidmap takes them.
 */
export function subordinateRanges(kind: IdKind, user: Account): SubidRange[] {
	return disjoint([...askGetsubids(kind, user), ...(isInFiles() ? readRanges(kind, user) : [])]);
}

/** What getsubids(1) says. It fails for a user without ranges, too. */
function askGetsubids(kind: IdKind, { name }: Account): SubidRange[] {
	// It has no "--" before the name.
	if (name === undefined || name.startsWith("-")) return [];
	const program = findProgram("getsubids");
	if (!program?.executable) return [];
	const { status, stdout } = spawnSync(program.found, kind === "gid" ? ["-g", name] : [name], {
		encoding: "utf8",
		stdio: ["ignore", "pipe", "ignore"],
		timeout: LOOKUP_MS,
	});
	return status === 0 ? parseGetsubids(stdout) : [];
}

/** Lines "0: NAME FIRST COUNT": the name may have anything in it, so each is read from the end. */
export function parseGetsubids(text: string): SubidRange[] {
	return text.split("\n").flatMap((line) => {
		const [, first, size] = / (\d+) (\d+)$/.exec(line) ?? [];
		return range(Number(first), Number(size));
	});
}

/** False when the ranges come from a directory service alone: then nobody looks at the files, so neither do we. */
function isInFiles(): boolean {
	try {
		return namesFiles(readFileSync("/etc/nsswitch.conf", "utf8"));
	} catch {
		return true;
	}
}

/** What nsswitch.conf(5) says of subid; without a word on it the files it is. */
export function namesFiles(text: string): boolean {
	const sources = /^[^\S\n]*subid:([^#\n]*)/m.exec(text)?.[1];
	return sources === undefined || /\bfiles\b/.test(sources);
}

function readRanges(kind: IdKind, user: Account): SubidRange[] {
	try {
		return parseSubidFile(readFileSync(SUBID_FILES[kind], "utf8"), user);
	} catch {
		return [];
	}
}

/**
 * Every line of the user, by name and by number; a line that newuidmap cannot read gives nothing. What follows a third
 * colon is nothing to it, and a carriage return or blank at the end makes it pass over the line.
 */
export function parseSubidFile(text: string, { name, uid }: Pick<Account, "name" | "uid">): SubidRange[] {
	return text.split("\n").flatMap((line) => {
		const [owner, first = "", size = ""] = line.split(":");
		// Both are by the uid: subgid(5) names users, not groups.
		return owner !== "" && (owner === name || owner === String(uid))
			? range(fileNumber(first), fileNumber(size))
			: [];
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
