import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { invalidArgument, show, UsernsError } from "../errors.ts";
import { findOwnProgram, lookUp } from "../find-program.ts";

/** Who a user is. The name is missing where only the number is known. */
export interface Account {
	name: string | undefined;
	uid: number;
	gid: number;
}

/** Who runs this process. Without an entry in the user database there is no name. */
export function callingUser(): Account {
	const uid = process.getuid?.() ?? 0;
	const gid = process.getgid?.() ?? 0;
	let name: string | undefined;
	try {
		// The name of the real uid, since newuidmap(1) goes by that; userInfo() asks for the effective one.
		name = process.geteuid?.() === uid ? userInfo().username : findEntry(String(uid))?.name;
	} catch {
		// no entry
	}
	return { name, uid, gid };
}

/** A user by login name or uid; who runs this process when left out. Throws `ERR_USERNS_UNKNOWN_USER`. */
export function findUser(user: string | number | undefined): Account {
	if (user === undefined) return callingUser();
	checkUser(user);
	const entry = findEntry(String(user), typeof user);
	if (entry !== undefined) return entry;
	throw new UsernsError("ERR_USERNS_UNKNOWN_USER", `there is no user ${show(user)} on this machine`, {
		hint: "See getent passwd, or /etc/passwd, for those that there are.",
	});
}

function checkUser(user: unknown): void {
	if (typeof user === "number") {
		if (Number.isInteger(user) && user >= 0 && user < 0xffffffff) return;
	} else if (typeof user === "string") {
		// What divides the fields and lines of passwd(5) and subuid(5) can be in no name.
		if (user !== "" && !/[:\n\0]/.test(user)) return;
	}
	throw invalidArgument(
		`Mapping.rootless: the user must be a login name or a uid, not ${show(user)}`,
		"A login name is not empty and has no colon, newline or NUL in it.",
	);
}

/** Whether nsswitch.conf(5) has the file looked at before anything else, as without a word on it. */
function isFileFirst(): boolean {
	try {
		const first = /^[^\S\n]*passwd:[^\S\n]*(\S*)/m.exec(readFileSync("/etc/nsswitch.conf", "utf8"))?.[1];
		return first === undefined || first === "files";
	} catch {
		return true;
	}
}

function inFile(matches: (entry: Account) => boolean): Account | undefined {
	try {
		return parseEntries(readFileSync("/etc/passwd", "utf8")).find(matches);
	} catch {
		return undefined;
	}
}

/**
 * The file, where that is what counts first; then NSS, where getent(1) is installed, since users may be in a directory
 * service. A program is asked as rarely as can be: see subordinateRanges() in ranges.ts.
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
		// A name of digits is taken for a number by getent, hence the second look.
		const entry = answer.status === 0 ? parseEntries(answer.stdout).find(matches) : undefined;
		if (entry !== undefined) return entry;
	}
	return inFile(matches);
}

/** Not 4294967295, which stands for nobody at all. */
function isId(text: string): boolean {
	return /^\d{1,10}$/.test(text) && Number(text) < 0xffffffff;
}

/** The lines of passwd(5). */
export function parseEntries(text: string): Account[] {
	return text.split("\n").flatMap((line) => {
		const [name = "", , uid = "", gid = ""] = line.split(":");
		return name !== "" && isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
	});
}
