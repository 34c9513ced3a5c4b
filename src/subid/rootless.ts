import { accessSync, constants } from "node:fs";
import { type FoundCause, UsernsError } from "../errors.ts";
import { type IdKind, showRange, showRanges } from "../mapping/extent.ts";
import { type Delegation, type SubidRange, setFindDelegation } from "../mapping/rootless.ts";
import { readSubidLines, type SubidLine } from "../mapping/subid-lines.ts";
import { freeForUser } from "./free.ts";
import { existing, ownExtents } from "./own-extents.ts";
import {
	findOverlaps,
	findSubids,
	type Owner,
	SUBID_FILES,
	type Subids,
	subordinateRanges,
	unopenable,
} from "./ranges.ts";
import { findUser } from "./users.ts";

/** The name of the user for messages and for the line to add, or the uid if there is no name. */
export function nameOf({ name, uid }: Owner): string {
	return name ?? String(uid);
}

/** Returns true also if the file does not exist, because then no user has a range. */
function isReadable(file: string): boolean {
	try {
		accessSync(file, constants.R_OK);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "ENOENT";
	}
}

/** The error for a user without subordinate IDs of a kind, or of both kinds. */
export function noSubids(kinds: readonly IdKind[], user: Owner): UsernsError {
	const causes = whyNoSubids(kinds, user);
	return new UsernsError("ERR_USERNS_NO_SUBIDS", causes.map(({ message }) => message).join("; "), {
		hint: causes.map(({ fix }) => `${fix}.`).join(" "),
		causes,
	});
}

/** The causes that this file finds, as those of the table in src/inspect/. */
export type SubidCauseId =
	| "subid-link"
	| "subid-unreadable"
	| "subid-service"
	| "subid-line"
	| "subid-none"
	| "subid-overlap";

function because(id: SubidCauseId, evidence: string, fix: string, command?: string): FoundCause {
	return {
		...{ id, message: evidence, evidence, consequence: "the user may map only the own ID", fix },
		...(command !== undefined && { command }),
	};
}

/** Whether a shell and sed(1) leave the text as it is. */
const isPlain = (text: string) => /^[\w.:@-]+$/.test(text);

function whyNoSubids(kinds: readonly IdKind[], user: Owner): FoundCause[] {
	const tried = `cannot find the subordinate ${kinds.map((kind) => `${kind}s`).join(" and ")} of the user ${nameOf(user)}`;
	const links = kinds.flatMap((kind) => unopenable(kind) ?? []).filter(({ isLink }) => isLink);
	if (links.length > 0) {
		return [
			because(
				"subid-link",
				`${tried}: ${links.map(({ evidence }) => evidence).join(" and ")}`,
				links.map(({ fix }) => fix).join(". "),
				links.map(({ command }) => command).join(" && "),
			),
		];
	}
	const hidden = kinds.map((kind) => SUBID_FILES[kind]).filter((file) => !isReadable(file));
	if (hidden.length > 0) {
		const command = `chmod 644 ${hidden.join(" ")}`;
		return [
			because(
				"subid-unreadable",
				`${tried}: ${hidden.join(" and ")} cannot be read`,
				`As root, make ${hidden.join(" and ")} readable: ${command}`,
				command,
			),
		];
	}
	const found = new Map(kinds.map((kind) => [kind, whyNone(kind, user)]));
	const missing = kinds.filter((kind) => found.get(kind) === undefined);
	const known = [...found.values()].filter((each) => each !== undefined);
	return missing.length === 0 ? known : [...known, noLines(missing, user)];
}

/** Why there is no range although it is another place than the file that has the ranges, or the file has a line of the user. */
function whyNone(kind: IdKind, user: Owner): FoundCause | undefined {
	const name = nameOf(user);
	const { ranges, service, flawed } = findSubids(kind, user);
	if (service !== undefined && ranges.length === 0) {
		return because(
			"subid-service",
			`the service "${service}" has no subordinate ${kind}s of the user ${name}`,
			`Assign ${kind}s to the user in the service "${service}", which the line subid of /etc/nsswitch.conf names; "getsubids ${kind === "gid" ? "-g " : ""}${name}" lists them`,
		);
	}
	const [line] = flawed;
	return line && flawedLine(kind, user, line, "no");
}

/** A line of the user from which newuidmap takes no range. */
function flawedLine(kind: IdKind, user: Owner, line: SubidLine, which: string): FoundCause {
	const file = SUBID_FILES[kind];
	const wanted = corrected(line) ?? `${line.owner}:${freeForUser(kind, user[kind]) ?? "FIRST:COUNT"}`;
	return because(
		"subid-line",
		`the user ${nameOf(user)} has ${which} subordinate ${kind}s in ${file}: line ${line.number} ${line.flaw}`,
		`As root, change line ${line.number} of ${file} to "${wanted}": newuidmap and newgidmap ignore a line that ${line.flaw}`,
		isPlain(wanted) ? `sed -i '${line.number}s/.*/${wanted}/' ${file}` : undefined,
	);
}

function noLines(kinds: readonly IdKind[], user: Owner): FoundCause {
	const name = nameOf(user);
	const free = kinds.map((kind) => ({ kind, range: freeForUser(kind, user[kind]) ?? "FIRST:COUNT" }));
	const missing = kinds.map((kind) => `subordinate ${kind}s in ${SUBID_FILES[kind]}`).join(" and no ");
	const lines = free.map(({ kind, range }) => `"${name}:${range}" to ${SUBID_FILES[kind]}`).join(" and ");
	const flags = kinds.map((kind) => `--add-sub${kind}s`).join(" and ");
	const ranges = free.map(({ kind, range }) => {
		const [first = 0, count = 0] = range.split(":").map(Number);
		return `--add-sub${kind}s ${first}-${first + count - 1}`;
	});
	if (user.name === undefined) {
		return because(
			"subid-none",
			`the user ${name} has no ${missing}`,
			`As root, give the uid ${name} a login name, which newuidmap and newgidmap need (useradd(8)), and add a line such as ${lines} with that name`,
		);
	}
	return because(
		"subid-none",
		`the user ${name} has no ${missing}`,
		`As root, add a line such as ${lines}, with IDs that the file assigns to no other user; see usermod(8), ${flags}`,
		isPlain(name) && !lines.includes("FIRST") ? `usermod ${ranges.join(" ")} ${name}` : undefined,
	);
}

/** The flaws in the subordinate ranges of a user: lines that newuidmap ignores, and IDs that other users have too. Empty without ranges. */
export function subidFlaws(user: Owner): FoundCause[] {
	return KINDS.flatMap((kind) => [
		...findSubids(kind, user).flawed.map((line) => flawedLine(kind, user, line, "fewer")),
		...overlap(kind, user),
	]);
}

function overlap(kind: IdKind, user: Owner): FoundCause[] {
	const file = SUBID_FILES[kind];
	return findOverlaps(kind, user).map(({ line: { number, owner, range }, what }) => {
		const { first = 0, size = 0 } = range ?? {};
		const wanted = `${owner}:${freeForUser(kind, user[kind]) ?? "FIRST:COUNT"}`;
		return {
			...because(
				"subid-overlap",
				`the subordinate ${kind}s ${showRange(first, size)} of the user ${nameOf(user)} contain ${what}`,
				`As root, change line ${number} of ${file} to "${wanted}", and the owner of the files with the old ${kind}s`,
				isPlain(wanted) ? `sed -i '${number}s/.*/${wanted}/' ${file}` : undefined,
			),
			consequence: "the two can change the files of each other",
		};
	});
}

/** What the line was probably meant to be; undefined if that is not known. */
function corrected({ text, owner }: SubidLine): string | undefined {
	const fields = text
		.slice(owner.length)
		.split(":")
		.map((field) => field.trim())
		.filter((field) => field !== "");
	const [, first, last] = /^(\d+)-(\d+)$/.exec(fields[0] ?? "") ?? [];
	const range = first === undefined ? fields : [first, String(BigInt(last ?? 0) - BigInt(first) + 1n)];
	const line = [owner, ...range].join(":");
	return readSubidLines(line)[0]?.range === undefined ? undefined : line;
}

/** The part of the ranges that exists in the user namespace of this process. */
function delegation(kind: IdKind, user: Owner, all: readonly SubidRange[]): Delegation {
	const own = user[kind];
	const within = ownExtents(kind);
	if (within === undefined) return { own, ranges: all };
	const ranges = existing(all, within);
	if (ranges.length === 0) throw outside(kind, user, all, showRanges(within, "containerID"));
	return { own, ranges };
}

/** Throws if the user's own ID does not exist in the user namespace of this process. */
function checkOwn(kind: IdKind, user: Owner): void {
	const own = user[kind];
	const within = ownExtents(kind);
	if (own === undefined || within === undefined) return;
	if (existing([{ first: own, size: 1 }], within).length === 0)
		throw ownUnmapped(kind, user, own, showRanges(within, "containerID"));
}

/** Does not name the user: without a map, getuid(2) returns the uid of the user nobody. */
function ownUnmapped(kind: IdKind, user: Owner, own: number, within: string): UsernsError {
	const isCaller = user.uid === process.getuid?.();
	const whose = isCaller
		? `the own ${kind} of this process`
		: `the ${kind} ${own} of the user ${nameOf(user)}`;
	const hint = isCaller
		? `Start this process in a user namespace that maps its own ${kind}, such as one of "unshare --map-root-user", or outside of it.`
		: `Name a user whose ${kind} /proc/self/${kind}_map maps: ${within}.`;
	return new UsernsError(
		"ERR_USERNS_UNMAPPED_ID",
		`${whose} is not mapped in the user namespace of this process, which has the ${kind}s: ${within}`,
		{ hint },
	);
}

function outside(kind: IdKind, user: Owner, ranges: readonly SubidRange[], within: string): UsernsError {
	const shown = ranges.slice(0, 8).map(({ first, size }) => showRange(first, size));
	return new UsernsError(
		"ERR_USERNS_UNMAPPED_ID",
		`the subordinate ${kind}s ${shown.join(", ")} of the user ${nameOf(user)} lie outside the ${kind}s of the user namespace of this process: ${within}`,
		{ hint: `As root, assign to the user ${kind}s that exist in this user namespace: ${within}.` },
	);
}

/** The account, or the name alone for an owner of ranges without an account. */
function findOwner(who: string | number | undefined): Owner {
	try {
		return findUser(who);
	} catch (error) {
		if (!(error instanceof UsernsError) || error.code !== "ERR_USERNS_UNKNOWN_USER") throw error;
		const owner = { name: String(who), uid: undefined, gid: undefined };
		const subids: Subids[] = KINDS.map((kind) => findSubids(kind, owner));
		if (subids.every(({ ranges, flawed }) => ranges.length === 0 && flawed.length === 0)) throw error;
		return owner;
	}
}

const KINDS: readonly IdKind[] = ["uid", "gid"];

setFindDelegation((who) => {
	const owner = findOwner(who);
	for (const kind of KINDS) checkOwn(kind, owner);
	const ranges = { uid: subordinateRanges("uid", owner), gid: subordinateRanges("gid", owner) };
	const missing = KINDS.filter((kind) => ranges[kind].length === 0);
	if (missing.length > 0) throw noSubids(missing, owner);
	return { uid: delegation("uid", owner, ranges.uid), gid: delegation("gid", owner, ranges.gid) };
});
