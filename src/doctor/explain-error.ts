import { stripVTControlCharacters } from "node:util";
import { type FoundCause, invalidArgument, show } from "../errors.ts";
import { showRange } from "../mapping/extent.ts";
import { SUBID_FILES, subordinateRanges } from "../subid/ranges.ts";
import { nameOf } from "../subid/rootless.ts";
import { callingUser } from "../subid/users.ts";
import { type DoctorCheck, type DoctorJob, doctor } from "./doctor.ts";

/** What a line of another program means on this machine. */
export interface ErrorExplanation {
	/** The line that was recognised. */
	line: string;
	/** The check of `doctor` that the line is about. */
	check: DoctorCheck["name"];
	/** The causes that were found; empty if this process can do what the program could not. */
	causes: FoundCause[];
	/** One thing to do. */
	hint: string;
}

/** Lines of bwrap, unshare, newuidmap, runc, crun and podman, in the order in which they are tried, with the job and its check. */
const LINES: readonly [line: RegExp, check: DoctorCheck["name"], job: DoctorJob][] = [
	[
		/mount_setattr\b.*: |\bidmap.*(?:not permitted|[Ii]nvalid argument)|failed to mount .*idmap/,
		"mounts",
		"mount",
	],
	[/^new[ug]idmap: |\bnew[ug]idmap\b.*(?:not found|exit status)/, "ids", "rootless"],
	[/no sub[ug]id ranges found|insufficient UIDs or GIDs/, "ids", "rootless"],
	[/^writing file `\/proc\/\d+\/[ug]id_map`|SYNC_USERMAP/, "ids", "rootless"],
	[
		/^bwrap: (?:setting up [ug]id map|No permissions to create|Creating new namespace failed|loopback: Failed)/,
		"namespaces",
		"spawn",
	],
	[/^unshare: (?:unshare failed|write failed \/proc\/self\/[ug]id_map)/, "namespaces", "spawn"],
	[
		/^clone: |nsexec-\d.*failed to sync with stage-1|can't get final child's PID from pipe/,
		"namespaces",
		"spawn",
	],
];

/** Longer lines are cut, because a pattern can take time in the square of the length. */
const LONGEST_LINE = 1000;

const NOT_HERE =
	"Call doctor() where the program runs: as the same user, in the same container and sandbox. This process can do what the failed program could not.";

/** A range that newuidmap(1) does not permit, compared with those of the user. */
function notDelegated(line: string): FoundCause | undefined {
	const words = /([ug]id) range \[\d+-\d+\) -> \[(\d+)-(\d+)\) not allowed/.exec(line);
	if (words === null) return undefined;
	const kind = words[1] === "uid" ? "uid" : "gid";
	const [first, end] = [Number(words[2]), Number(words[3])];
	const user = callingUser();
	const ranges = subordinateRanges(kind, user);
	if (ranges.some((each) => first >= each.first && end <= each.first + each.size)) return undefined;
	const shown = ranges.map((each) => showRange(each.first, each.size)).join(", ");
	const evidence = `${SUBID_FILES[kind]} gives the user ${nameOf(user)} ${shown === "" ? `no ${kind}s` : `the ${kind}s ${shown}`}`;
	const consequence = `the ${kind}s ${showRange(first, end - first)} are not among them`;
	const fix = `Use the user's own ${kind} ${user[kind]}${shown === "" ? "" : `, and the ${kind}s ${shown}`}`;
	return { id: "not-delegated", message: `${evidence}, and ${consequence}`, evidence, consequence, fix };
}

/**
 * Recognises an error of bwrap, unshare, newuidmap, runc, crun or podman in a text, and looks for its cause on this machine, as this
 * process. Undefined for a text without such a line.
 */
export async function explainError(text: string): Promise<ErrorExplanation | undefined> {
	if (typeof text !== "string")
		throw invalidArgument(`explainError: the text must be a string, not ${show(text)}`);
	// A program may have written a progress line before, which a carriage return ends, and colours.
	const lines = stripVTControlCharacters(text)
		.split(/[\r\n]+/)
		.map((each) => each.trim().slice(0, LONGEST_LINE));
	for (const [pattern, name, job] of LINES) {
		const line = lines.find((each) => pattern.test(each));
		if (line === undefined) continue;
		const refused = name === "ids" ? notDelegated(line) : undefined;
		const { checks } = refused === undefined ? await doctor({ for: job }) : { checks: [] };
		const causes = refused === undefined ? causesFor(checks, name) : [refused];
		return { line, check: name, causes, hint: causes[0] === undefined ? NOT_HERE : `${causes[0].fix}.` };
	}
	return undefined;
}

/** The causes of a check, or of the earlier check whose failure prevented it. */
function causesFor(checks: readonly DoctorCheck[], name: DoctorCheck["name"]): FoundCause[] {
	const missing = checks.filter(({ state }) => state === "missing");
	return (missing.find((each) => each.name === name && each.causes.length > 0) ?? missing[0])?.causes ?? [];
}
