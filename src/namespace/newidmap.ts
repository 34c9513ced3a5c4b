import { describeErrno, type FoundCause, UsernsError, type UsernsErrorDetails } from "../errors.ts";
import { findOwnProgram } from "../find-program.ts";
import { findCauses, remainingHint } from "../inspect/causes.ts";
import { HELPERS } from "../inspect/helper-causes.ts";
import { type IdKind, type IdMap, showRange } from "../mapping/extent.ts";
import { extentsOf, type Mapping } from "../mapping/mapping.ts";
import { procText } from "../mapping/proc.ts";
import type { SubidRange } from "../mapping/rootless.ts";
import type { Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { shorten } from "../native/steps.ts";
import { findSubids, SUBID_FILES, subordinateRanges } from "../subid/ranges.ts";
import { nameOf, noSubids } from "../subid/rootless.ts";
import { callingUser } from "../subid/users.ts";

/** The paths of newuidmap(1) and newgidmap(1); null for a program that is not needed or not found. */
export type NewidmapPrograms = Record<IdKind, string | null>;

export const NO_NEWIDMAP: NewidmapPrograms = { uid: null, gid: null };

/** Finds the programs that a mapping can need in the absolute directories of PATH. */
export function findNewidmap(mapping: Mapping): NewidmapPrograms {
	const find = (kind: IdKind, extents: readonly unknown[]) =>
		extents.length === 0 ? null : (findOwnProgram(HELPERS[kind])?.found ?? null);
	const { uid, gid } = extentsOf(mapping);
	return { uid: find("uid", uid), gid: find("gid", gid) };
}

/**
 * The extents for newuidmap or newgidmap. They permit the user's own ID only in an extent of size 1, so an extent with that ID
 * is cut.
 */
export function newidmapText(kind: IdKind, extents: readonly Readonly<IdMap>[]): string {
	const own = (kind === "uid" ? process.getuid?.() : process.getgid?.()) ?? 0;
	return procText(extents.flatMap((extent) => isolate(extent, own)));
}

function isolate(extent: Readonly<IdMap>, hostID: number): IdMap[] {
	const before = hostID - extent.hostID;
	if (before < 0 || before >= extent.size) return [{ ...extent }];
	const part = (from: number, size: number): IdMap[] =>
		size === 0 ? [] : [{ containerID: extent.containerID + from, hostID: extent.hostID + from, size }];
	return [...part(0, before), ...part(before, 1), ...part(before + 1, extent.size - before - 1)];
}

function tried(mapping: Mapping): string {
	return `cannot create a user namespace with the mapping ${shorten(mapping.id)}`;
}

/** Why newuidmap or newgidmap did not write its map. */
function causesOf(kind: IdKind, program: string | null, words = ""): FoundCause[] {
	const helper = { kind, program, words };
	return findCauses({ operation: "newuidmap", doing: `writing the ${kind} map`, helper });
}

/** The error for a map that the caller may not write and whose program was not found. */
export function newidmapMissing(kind: IdKind, mapping: Mapping): UsernsError {
	const name = HELPERS[kind];
	const causes = causesOf(kind, null).slice(0, 1);
	return new UsernsError(
		"ERR_USERNS_HELPER_MISSING",
		`${tried(mapping)}: it needs more than the caller's own ${kind}, and ${name} is not in PATH`,
		{ mapping: mapping.id, step: `finding ${name}`, causes },
	);
}

/** The error for an outcome in which newuidmap or newgidmap did not write its map. */
export function newidmapFailure(mapping: Mapping, newidmap: NewidmapPrograms, outcome: Outcome): UsernsError {
	const failed = (["uid", "gid"] as const).filter((kind) => statusOf(outcome, kind) !== 0);
	const ends = failed.map((kind) => describe(outcome, kind)).join("; ");
	const message = `${tried(mapping)}: ${ends}`;
	const kind = failed[0] ?? "uid";
	const details: UsernsErrorDetails = { mapping: mapping.id, step: `running ${HELPERS[kind]}` };
	const status = statusOf(outcome, kind);
	if (status < 0) {
		const hint = notRunHint(newidmap[kind] ?? "", kind, status);
		return new UsernsError("ERR_USERNS_HELPER_FAILED", message, { ...details, errno: status, hint });
	}
	for (const each of failed) {
		const reason = notDelegated(each, mapping, ends, details);
		if (reason !== undefined) return reason;
	}
	const program = newidmap[kind] ?? "";
	const causes = causesOf(kind, program, said(outcome, kind));
	if (causes.length > 0) return new UsernsError("ERR_USERNS_HELPER_FAILED", message, { ...details, causes });
	// The program has the profile of the caller.
	const remaining = remainingHint("newuidmap");
	const more =
		typeof remaining === "string"
			? { hint: `Check that ${program} is the one of the package uidmap.`, causes }
			: { causes: remaining };
	return new UsernsError("ERR_USERNS_HELPER_FAILED", message, { ...details, ...more });
}

function statusOf(outcome: Outcome, kind: IdKind): number {
	return (kind === "uid" ? outcome.uidStatus : outcome.gidStatus) ?? 0;
}

function said(outcome: Outcome, kind: IdKind): string {
	return ((kind === "uid" ? outcome.uidSaid : outcome.gidSaid) ?? "").trim();
}

function describe(outcome: Outcome, kind: IdKind): string {
	const status = statusOf(outcome, kind);
	const name = HELPERS[kind];
	if (status === ERRNO.ETIMEDOUT) return `${name} did not end within 30 seconds and was killed`;
	if (status < 0) return `${name} did not run: ${describeErrno(status)}`;
	const end = status > 255 ? `was killed by signal ${status - 256}` : `exited with status ${status}`;
	const words = oneLine(said(outcome, kind));
	return `${name} ${end}${words === "" ? " without output" : `: ${words}`}`;
}

/** The output of a program in one line, without control characters, because messages are printed on terminals. */
export function oneLine(words: string): string {
	const lines = words.replaceAll(/[^\P{Cc}\n]/gu, "?").split("\n");
	return lines
		.map((line) => line.trim())
		.filter((line) => line !== "")
		.join(" / ");
}

/** The hint for a program that was not executed or was killed. */
function notRunHint(program: string, kind: IdKind, status: number): string {
	if (status === ERRNO.ETIMEDOUT) {
		return `Check that the user database and the directory service of /etc/nsswitch.conf answer ("getent passwd", getsubids): ${program} queries them.`;
	}
	if (status === ERRNO.E2BIG) {
		return `Use fewer extents: ${program} needs the caller's own ${kind} in a separate extent, and a map has 340 extents at most.`;
	}
	return `Check that ${program}, the first one in PATH, is a program that this user may execute.`;
}

/** The error for a mapping that is not delegated to the user: the user has no name, no ranges, or other ranges. */
function notDelegated(
	kind: IdKind,
	mapping: Mapping,
	ends: string,
	details: UsernsErrorDetails,
): UsernsError | undefined {
	const user = callingUser();
	if (user.name === undefined) {
		const causes = causesOf(kind, HELPERS[kind], ends).slice(0, 1);
		return new UsernsError("ERR_USERNS_UNKNOWN_USER", `${tried(mapping)}: ${ends}`, {
			...details,
			...{ causes },
		});
	}
	const { ranges, service } = findSubids(kind, user);
	const extents = kind === "uid" ? mapping.uidMappings : mapping.gidMappings;
	const outside = firstOutside(extents, [...ranges, { first: user[kind], size: 1 }]);
	if (outside === undefined) return refusedRange(kind, service, tried(mapping), ends, details);
	if (ranges.length === 0) {
		const others = extentsOf(mapping);
		const missing = (["uid", "gid"] as const).filter((each) => {
			const isOwn = firstOutside(others[each], [{ first: user[each], size: 1 }]) === undefined;
			return !isOwn && subordinateRanges(each, user).length === 0;
		});
		const { message: reason, hint, causes } = noSubids(missing, user);
		const code = refused(kind, ends) === undefined ? "ERR_USERNS_NO_SUBIDS" : "ERR_USERNS_NOT_DELEGATED";
		return new UsernsError(code, `${tried(mapping)}: ${reason}; ${ends}`, {
			...details,
			...{ hint, causes },
		});
	}
	const delegated = ranges.map(({ first, size }) => showRange(first, size)).join(", ");
	return new UsernsError(
		"ERR_USERNS_NOT_DELEGATED",
		`${tried(mapping)}: the ${kind} ${outside} is not among those of the user ${nameOf(user)}; ${ends}`,
		{
			...details,
			hint: `Use the user's own ${kind} ${user[kind]} and the subordinate ${kind}s ${delegated} (${service === undefined ? SUBID_FILES[kind] : `the service "${service}"`}).`,
		},
	);
}

/**
 * The error for a range that newuidmap or newgidmap does not permit although the package finds it: newuidmap decides. The two differ for
 * lines that only some versions of shadow accept (src/mapping/subid-lines.ts), and if a file changes meanwhile.
 */
function refusedRange(
	kind: IdKind,
	service: string | undefined,
	tried: string,
	ends: string,
	details: UsernsErrorDetails,
): UsernsError | undefined {
	const name = HELPERS[kind];
	const range = refused(kind, ends);
	if (range === undefined) return undefined;
	const hint =
		service === undefined
			? `Check the line in ${SUBID_FILES[kind]} that has the ${kind}s ${range}: some versions of ${name} ignore a line with more than three fields, and a line with an ID above 4294967295.`
			: `Check that the service "${service}", which the line subid of /etc/nsswitch.conf names, gives the ${kind}s ${range} to the user: getsubids(1) prints them, and ${name} decides.`;
	return new UsernsError(
		"ERR_USERNS_NOT_DELEGATED",
		`${tried}: ${name} does not permit the ${kind}s ${range}; ${ends}`,
		{ ...details, hint },
	);
}

/** The range that newuidmap or newgidmap says it does not permit. */
function refused(kind: IdKind, ends: string): string | undefined {
	const words = new RegExp(`${kind} range \\[\\d+-\\d+\\) -> \\[(\\d+)-(\\d+)\\) not allowed`).exec(ends);
	return words === null ? undefined : showRange(Number(words[1]), Number(words[2]) - Number(words[1]));
}

/** The first host ID that no range contains. */
function firstOutside(
	extents: readonly Readonly<IdMap>[],
	ranges: readonly SubidRange[],
): number | undefined {
	for (const { hostID, size } of extents) {
		let at = hostID;
		while (at < hostID + size) {
			const around = ranges.find(({ first, size: count }) => at >= first && at < first + count);
			if (around === undefined) return at;
			at = around.first + around.size;
		}
	}
	return undefined;
}
