import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { invalidArgument, show, UsernsError } from "../errors.ts";
import { findOwnProgram, lookUp } from "../find-program.ts";
import type { IdKind } from "../mapping/extent.ts";
import { refuseDenied } from "../permission.ts";

/** An entry of the user database. The name is undefined if only the uid is known. */
export interface Account {
	name: string | undefined;
	uid: number;
	gid: number;
}

/** The real user of this process. The name is undefined if the user database has no entry. */
export function callingUser(): Account {
	const uid = process.getuid?.() ?? 0;
	const gid = process.getgid?.() ?? 0;
	let name: string | undefined;
	try {
		// userInfo() reads the entry of the effective uid, but newuidmap(1) uses the real one. In Bun it returns the variable USER.
		const isEntry = process.geteuid?.() === uid && process.versions.bun === undefined;
		name = isEntry ? userInfo().username : findEntry(USERS, String(uid), (entry) => entry.uid === uid)?.name;
	} catch (error) {
		if (error instanceof UsernsError) throw error;
		// no entry
	}
	return { name, uid, gid };
}

/** Finds a user by login name or uid; by default the user of this process. Throws `ERR_USERNS_UNKNOWN_USER`. */
export function findUser(user: string | number | undefined): Account {
	if (user === undefined) return callingUser();
	checkUser(user);
	const entry = findEntry(USERS, String(user), ({ name, uid }) =>
		typeof user === "number" ? uid === user : name === user,
	);
	if (entry !== undefined) return entry;
	throw new UsernsError("ERR_USERNS_UNKNOWN_USER", `there is no user ${show(user)} on this machine`, {
		hint: 'Name a user that "getent passwd" or /etc/passwd lists.',
	});
}

/** The groups of a user at login, the primary one included: getent(1) and initgroups(3). Empty without getent. */
export function loginGroups(name: string): number[] {
	const getent = findOwnProgram("getent");
	if (!getent?.executable) return [];
	const { status, stdout } = lookUp(getent.found, ["initgroups", "--", name]);
	return status === 0 ? stdout.trim().split(/\s+/).slice(1).filter(isId).map(Number) : [];
}

function checkUser(user: unknown): void {
	if (typeof user === "number") {
		if (Number.isInteger(user) && user >= 0 && user < 0xffffffff) return;
	} else if (typeof user === "string") {
		// These characters separate the fields and lines of passwd(5) and subuid(5).
		if (user !== "" && !/[:\n\0]/.test(user)) return;
	}
	throw invalidArgument(
		`Mapping.rootless: the user must be a login name or a uid, not ${show(user)}`,
		"Name a user by a login name, which is not empty and contains no colon, newline or NUL.",
	);
}

/**
 * Finds the ID of a user name or group name in the user database of this machine; undefined for an unknown name. Passed to
 * `Mapping.parse` as `names`, it allows names in place of IDs.
 * @see passwd(5), group(5), getent(1)
 */
export function findId(name: string, kind: IdKind): number | undefined {
	if (kind !== "uid" && kind !== "gid") {
		throw invalidArgument(`findId: the kind must be "uid" or "gid", not ${show(kind)}`);
	}
	if (typeof name !== "string" || name === "" || /[:\n\0]/.test(name)) {
		throw invalidArgument(`findId: the name must be that of a user or group, not ${show(name)}`);
	}
	const matches = (entry: { name: string | undefined }) => entry.name === name;
	return kind === "uid" ? findEntry(USERS, name, matches)?.uid : findEntry(GROUPS, name, matches)?.gid;
}

interface Database<Entry> {
	/** The name of the database in nsswitch.conf(5) and for getent(1), and of its file in /etc. */
	name: "passwd" | "group";
	parse(text: string): Entry[];
}

const USERS: Database<Account> = { name: "passwd", parse: parseEntries };
const GROUPS: Database<Pick<Account, "name" | "gid">> = { name: "group", parse: parseGroups };

/** Returns true if nsswitch.conf(5) names the file as the first source of the database, or no source. */
function isFileFirst(database: string): boolean {
	try {
		const text = readFileSync("/etc/nsswitch.conf", "utf8");
		const first = new RegExp(`^[^\\S\\n]*${database}:[^\\S\\n]*(\\S*)`, "m").exec(text)?.[1];
		return first === undefined || first === "files";
	} catch (error) {
		refuseDenied(error, "/etc/nsswitch.conf");
		return true;
	}
}

function inFile<Entry>(
	{ name, parse }: Database<Entry>,
	matches: (entry: Entry) => boolean,
): Entry | undefined {
	try {
		return parse(readFileSync(`/etc/${name}`, "utf8")).find(matches);
	} catch (error) {
		refuseDenied(error, `/etc/${name}`);
		return undefined;
	}
}

/**
 * Finds an entry in the file if that is the first source, then with getent(1), because users may be in a directory service, then
 * in the file. The file comes first to avoid running a program; subordinateRanges() in ranges.ts has the reason.
 */
function findEntry<Entry>(
	database: Database<Entry>,
	key: string,
	matches: (entry: Entry) => boolean,
): Entry | undefined {
	if (isFileFirst(database.name)) {
		const entry = inFile(database, matches);
		if (entry !== undefined) return entry;
	}
	const getent = findOwnProgram("getent");
	if (getent?.executable) {
		const answer = lookUp(getent.found, [database.name, "--", key]);
		// getent(1) reads a name of digits as an ID, so the entry is compared again.
		const entry = answer.status === 0 ? database.parse(answer.stdout).find(matches) : undefined;
		if (entry !== undefined) return entry;
	}
	return inFile(database, matches);
}

/** Returns true for a uid or gid. 4294967295 is none: it means "no ID". */
function isId(text: string): boolean {
	return /^\d{1,10}$/.test(text) && Number(text) < 0xffffffff;
}

/** Parses the lines of passwd(5). Ignores a line without a name, a uid and a gid. */
export function parseEntries(text: string): Account[] {
	return text.split("\n").flatMap((line) => {
		const [name = "", , uid = "", gid = ""] = line.split(":");
		return name !== "" && isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
	});
}

/** Parses the lines of group(5). Ignores a line without a name and a gid. */
function parseGroups(text: string): Pick<Account, "name" | "gid">[] {
	return text.split("\n").flatMap((line) => {
		const [name = "", , gid = ""] = line.split(":");
		return name !== "" && isId(gid) ? [{ name, gid: Number(gid) }] : [];
	});
}

/** The IDs in /etc/passwd or /etc/group, root first, except for that of the user. */
export function idsInUse(
	kind: IdKind,
	own: Record<IdKind, number | undefined>,
): { first: number; size: 1; what: string }[] {
	let text = "";
	try {
		text = readFileSync(kind === "uid" ? "/etc/passwd" : "/etc/group", "utf8");
	} catch (error) {
		refuseDenied(error);
	}
	const entries: { name: string | undefined; uid?: number; gid: number }[] =
		kind === "uid" ? parseEntries(text) : parseGroups(text);
	const ids = entries.map((entry) => ({ name: entry.name, id: entry[kind] ?? 0 }));
	return [{ name: "root", id: 0 }, ...ids].flatMap(({ name, id }) =>
		id === own[kind] ? [] : [{ first: id, size: 1 as const, what: `the ${kind} ${id} of ${name}` }],
	);
}
