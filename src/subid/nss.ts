import { readFileSync } from "node:fs";
import { findOwnProgram, lookUp } from "../find-program.ts";
import { refuseDenied } from "../permission.ts";
import { parseEntries } from "./users.ts";

/** The text of nsswitch.conf(5), or nothing. */
export function nssText(): string {
	return readOr("/etc/nsswitch.conf");
}

function readOr(file: string): string {
	try {
		return readFileSync(file, "utf8");
	} catch (error) {
		refuseDenied(error, file);
		return "";
	}
}

/**
 * The directory service of subid in the text of nsswitch.conf(5); undefined if it is the files. Only the first word counts. The key is
 * compared without case and must be at the start of the line. A line without a word is skipped.
 */
export function subidService(text: string): string | undefined {
	for (const line of text.split("\n")) {
		if (!/^subid:/i.test(line)) continue;
		const word = /^[ \t\v\f\r]*([^ \t]*)/.exec(line.slice("subid:".length))?.[1] ?? "";
		// shadow uses the files for a name that is longer.
		if (word !== "") return word === "files" || word.length > 50 ? undefined : word;
	}
	return undefined;
}

/** The login names that /etc/passwd has for a uid. newuidmap(1) accepts the lines of each of them. */
export function namesOf(uid: number): string[] {
	const entries = parseEntries(readOr("/etc/passwd")).filter((entry) => entry.uid === uid);
	return entries.flatMap(({ name }) => name ?? []);
}

/**
 * The names among `names` that a directory service gives to a uid. One call of getent(1) finds whether there is one, because the
 * service may print another name than the one that was asked for.
 */
export function namesInDirectory(names: ReadonlySet<string>, uid: number): Set<string> {
	const sources = /^[^\S\n]*passwd:([^#\n]*)/m.exec(nssText())?.[1]?.trim().split(/\s+/) ?? [];
	const getent = findOwnProgram("getent");
	// systemd has no second name for a uid.
	if (sources.every((source) => ["files", "compat", "systemd"].includes(source)) || !getent?.executable) {
		return new Set();
	}
	const has = (asked: readonly string[]): boolean =>
		parseEntries(lookUp(getent.found, ["passwd", "--", ...asked]).stdout ?? "").some((e) => e.uid === uid);
	// getent reads a name of digits as a uid.
	const asked = [...names].filter((name) => !/^\d*$/.test(name));
	return new Set(asked.length > 0 && has(asked) ? asked.filter((name) => has([name])) : []);
}
