import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { invalidArgument, show, UsernsError } from "../errors.ts";
import { findOwnProgram, lookUp } from "../find-program.ts";
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
		name = isEntry ? userInfo().username : findEntry(String(uid))?.name;
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
	const entry = findEntry(String(user), typeof user);
	if (entry !== undefined) return entry;
	throw new UsernsError("ERR_USERNS_UNKNOWN_USER", `there is no user ${show(user)} on this machine`, {
		hint: 'Name a user that "getent passwd" or /etc/passwd lists.',
	});
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

/** Returns true if nsswitch.conf(5) names the file as the first source of passwd, or no source. */
function isFileFirst(): boolean {
	try {
		const first = /^[^\S\n]*passwd:[^\S\n]*(\S*)/m.exec(readFileSync("/etc/nsswitch.conf", "utf8"))?.[1];
		return first === undefined || first === "files";
	} catch (error) {
		refuseDenied(error, "/etc/nsswitch.conf");
		return true;
	}
}

function inFile(matches: (entry: Account) => boolean): Account | undefined {
	try {
		return parseEntries(readFileSync("/etc/passwd", "utf8")).find(matches);
	} catch (error) {
		refuseDenied(error, "/etc/passwd");
		return undefined;
	}
}

/**
 * Finds an entry in /etc/passwd if that is the first source, then with getent(1), because users may be in a directory service, then
 * in /etc/passwd. The file comes first to avoid running a program; subordinateRanges() in ranges.ts has the reason.
 */
function findEntry(key: string, by: "string" | "number" | string = "number"): Account | undefined {
	const matches = ({ name, uid }: Account) => (by === "number" ? String(uid) === key : name === key);
	if (isFileFirst()) {
		const entry = inFile(matches);
		if (entry !== undefined) return entry;
	}
	const getent = findOwnProgram("getent");
	if (getent?.executable) {
		const answer = lookUp(getent.found, ["passwd", "--", key]);
		// getent(1) reads a name of digits as a uid, so the entry is compared again.
		const entry = answer.status === 0 ? parseEntries(answer.stdout).find(matches) : undefined;
		if (entry !== undefined) return entry;
	}
	return inFile(matches);
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
