import { closeSync, constants, lstatSync, openSync, readFileSync } from "node:fs";
import { findOwnProgram, lookUp } from "../find-program.ts";
import type { IdKind } from "../mapping/extent.ts";
import { disjoint, type SubidRange } from "../mapping/rootless.ts";
import { readSubidLines, type SubidLine } from "../mapping/subid-lines.ts";
import { refuseDenied } from "../permission.ts";
import { namesInDirectory, namesOf, nssText, subidService } from "./nss.ts";
import { type Account, idsInUse } from "./users.ts";

/** The file that has the ranges of a kind. */
export const SUBID_FILES: Record<IdKind, string> = { uid: "/etc/subuid", gid: "/etc/subgid" };

/** An owner of ranges. An owner without an account has no uid and no gid. */
export type Owner = Pick<Account, "name"> & Record<IdKind, number | undefined>;

/** What newuidmap(1) finds for a user. */
export interface Subids {
	/** Without overlaps. */
	ranges: SubidRange[];
	/** The directory service that has the ranges instead of the file. */
	service?: string;
	/** The lines of the user in the file from which newuidmap takes no range. */
	flawed: SubidLine[];
}

/** The subordinate ranges of a user, without overlaps. */
export function subordinateRanges(kind: IdKind, owner: Owner): SubidRange[] {
	return findSubids(kind, owner).ranges;
}

/**
 * Finds the ranges of a user where newuidmap(1) does. getsubids(1) is run only for a directory service, because Node waits
 * indefinitely for the end of a program if another thread reaps every child, and because getsubids 4.13 ignores lines that newuidmap
 * accepts: those of another login name with the same uid, and those of /etc/subgid with the uid of the user.
 */
export function findSubids(kind: IdKind, owner: Owner): Subids {
	const service = subidService(nssText());
	const found = service === undefined ? undefined : askGetsubids(kind, owner);
	if (service !== undefined && found !== undefined) return { ranges: disjoint(found), service, flawed: [] };
	const lines = linesOf(readSubidLines(readSubidFile(kind)), owner);
	return {
		ranges: disjoint(lines.flatMap(({ range }) => range ?? [])),
		flawed: lines.filter(({ range }) => range === undefined),
	};
}

/**
 * The ranges that getsubids(1) prints, which loads the library libsubid_WORD.so as newuidmap(1) does. Undefined if the library does
 * not load, because both programs then read the files. getsubids also fails for a user without ranges.
 */
function askGetsubids(kind: IdKind, { name }: Owner): SubidRange[] | undefined {
	// getsubids(1) does not accept "--" before the name.
	if (name === undefined || name.startsWith("-")) return [];
	const program = findOwnProgram("getsubids");
	if (!program?.executable) return [];
	const { status, stdout, stderr } = lookUp(program.found, kind === "gid" ? ["-g", name] : [name]);
	if (/^Using files$|^libsubid_\S*\.so did not provide /im.test(stderr)) return undefined;
	return status === 0 ? parseGetsubids(stdout) : [];
}

/** Parses lines "0: NAME FIRST COUNT", from the end of each line, because the name may have any character. */
export function parseGetsubids(text: string): SubidRange[] {
	return text.split("\n").flatMap((line) => {
		const [, first, count] = / (\d+) (\d+)$/.exec(line) ?? [];
		const [read] = readSubidLines(`user:${first}:${count}`);
		return read?.range ?? [];
	});
}

/** The ranges that the file assigns to any user. */
export function grantedRanges(kind: IdKind): SubidRange[] {
	return readSubidLines(readSubidFile(kind)).flatMap(({ range }) => range ?? []);
}

/**
 * The lines of the user whose IDs are also those of another user in the file, or of an account or a group, with the first of these. No line
 * if a directory service has the ranges.
 */
export function findOverlaps(kind: IdKind, user: Owner): { line: SubidLine; what: string }[] {
	if (findSubids(kind, user).service !== undefined) return [];
	const lines = readSubidLines(readSubidFile(kind));
	const own = linesOf(lines, user);
	const others = lines.flatMap((line) =>
		own.includes(line) || line.range === undefined
			? []
			: [{ ...line.range, what: `those of ${line.owner} in line ${line.number} of ${SUBID_FILES[kind]}` }],
	);
	const taken = [...idsInUse(kind, user), ...others];
	return own.flatMap((line) => {
		const { first = 0, size = 0 } = line.range ?? {};
		const other = taken.find((each) => first < each.first + each.size && each.first < first + size);
		return other === undefined ? [] : [{ line, what: other.what }];
	});
}

export interface Unopenable {
	evidence: string;
	fix: string;
	command: string;
	isLink: boolean;
}

/** Why newuidmap(1) cannot open its file; undefined if it can. Before shadow 4.19 it needs the file for a directory service too. */
export function unopenable(kind: IdKind): Unopenable | undefined {
	const file = SUBID_FILES[kind];
	try {
		if (!lstatSync(file).isSymbolicLink()) return undefined;
	} catch (error) {
		refuseDenied(error, file);
		const command = `touch ${file}`;
		return {
			evidence: `${file} does not exist`,
			fix: `As root, create the file: ${command}`,
			...{ command, isLink: false },
		};
	}
	const command = `cp --remove-destination "$(readlink -f ${file})" ${file}`;
	return {
		evidence: `${file} is a symbolic link`,
		fix: `As root, replace the symbolic link ${file} by a copy of its target, because newuidmap and newgidmap do not follow it: ${command}`,
		...{ command, isLink: true },
	};
}

/** The text of the file, or nothing if it cannot be read. newuidmap(1) opens it with O_NOFOLLOW and O_NONBLOCK too. */
function readSubidFile(kind: IdKind): string {
	const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
	try {
		const fd = openSync(SUBID_FILES[kind], O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
		try {
			return readFileSync(fd, "utf8");
		} finally {
			closeSync(fd);
		}
	} catch (error) {
		refuseDenied(error, SUBID_FILES[kind]);
		return "";
	}
}

/**
 * The lines of a user: those with the login name or the uid, or with another login name of the same uid. In both files the owner is a
 * user: subgid(5) names users, not groups. A directory service is asked for other names only if no line was found, to avoid running a
 * program.
 */
function linesOf(lines: readonly SubidLine[], { name, uid }: Owner): SubidLine[] {
	const names = new Set([name, ...(uid === undefined ? [] : [String(uid), ...namesOf(uid)])]);
	const found = lines.filter(({ owner }) => names.has(owner));
	if (found.length > 0 || uid === undefined) return found;
	const others = namesInDirectory(new Set(lines.map(({ owner }) => owner)), uid);
	return lines.filter(({ owner }) => others.has(owner));
}
