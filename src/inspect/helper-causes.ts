import { dirname } from "node:path";
import type { IdKind } from "../mapping/extent.ts";
import { unopenable } from "../subid/ranges.ts";
import { and, boundingFix, type Cause, type Refusal } from "./cause.ts";
import type { Capability, Facts } from "./facts.ts";

/*
 * Why newuidmap and newgidmap do not write a map. They fail with the same words for most of these causes.
 */

export type HelperCauseId =
	| "unknown-user"
	| "helper-missing"
	| "helper-relative-path"
	| "no-new-privs"
	| "helper-bounding-set"
	| "other-gid"
	| "subid-file-missing"
	| "helper-nosuid"
	| "helper-not-privileged";

export const HELPERS = { uid: "newuidmap", gid: "newgidmap" } as const;
const CAPABILITIES = { uid: "CAP_SETUID", gid: "CAP_SETGID" } as const;
const KINDS: readonly IdKind[] = ["uid", "gid"];
const SET_USER_ID = 0o4000;
const OTHERS_WRITE = 0o022;

/** True for a set-user-ID program of root, and for a file that cannot be examined. */
function isSetUserId(facts: Facts, program: string): boolean {
	const stat = facts.sources.stat(program);
	return stat === undefined || ((stat.mode & SET_USER_ID) !== 0 && stat.uid === 0);
}

function helperOf({ helper }: Refusal): { kind: IdKind; name: string; program: string | undefined } {
	const kind = helper?.kind ?? "uid";
	return { kind, name: HELPERS[kind], program: helper?.program ?? undefined };
}

/**
 * The files of both programs in PATH, because one that is broken is rarely alone. Only those of root, which others may not write, and
 * whose names a shell does not change: a command for root must not give privilege to the file of a user.
 */
function ofRoot(facts: Facts): { kind: IdKind; file: string }[] {
	return KINDS.flatMap((kind) => {
		const [file = ""] = facts.sources.programs(HELPERS[kind]);
		const stat = facts.sources.stat(file);
		const isSafe = stat?.uid === 0 && (stat.mode & OTHERS_WRITE) === 0 && /^[\w./+-]+$/.test(file);
		return isSafe ? [{ kind, file }] : [];
	});
}

/** The capabilities that the program needs and its process cannot get. A set-user-ID program opens the map as root. */
function outsideBounds(facts: Facts, { kind, program }: ReturnType<typeof helperOf>): Capability[] {
	const needs: Capability[] = [CAPABILITIES[kind]];
	if (program !== undefined && isSetUserId(facts, program)) needs.push("CAP_SYS_ADMIN");
	return needs.filter((each) => facts.has(each, "CapBnd") === false);
}

/** The set-user-ID program of root in a relative entry of PATH. Another user may have put any other file there. */
function relative(facts: Facts, { name, program }: ReturnType<typeof helperOf>): string | undefined {
	const found = program === undefined ? facts.sources.anywhere(name) : undefined;
	const stat = found === undefined ? undefined : facts.sources.stat(found);
	return stat !== undefined && stat.uid === 0 && (stat.mode & SET_USER_ID) !== 0 ? found : undefined;
}

const setcap = ({ kind, file }: { kind: IdKind; file: string }) => `setcap cap_set${kind}=ep ${file}`;

/** A program behind the first one in PATH that is set-user-ID root. */
function next(facts: Facts, name: string): string | undefined {
	return facts.sources.programs(name).find((each) => isSetUserId(facts, each));
}

export const helperCauses: Readonly<Record<HelperCauseId, Cause>> = {
	"unknown-user": {
		explains: ["newuidmap"],
		check: (facts) =>
			facts.sources.gids() === undefined ? `the uid ${facts.euid} has no login name` : undefined,
		consequence: (refusal) => `${helperOf(refusal).name} needs one`,
		fix: () => "Add the user to /etc/passwd",
	},
	"helper-relative-path": {
		explains: ["newuidmap"],
		check: (facts, refusal) => {
			const found = relative(facts, helperOf(refusal));
			return found && `${helperOf(refusal).name} is only in a relative entry of PATH, at ${found}`;
		},
		consequence: () => "relative and empty entries of PATH are not searched",
		fix: () => "Put the absolute path of that directory in PATH",
	},
	"helper-missing": {
		explains: ["newuidmap"],
		check: (facts, refusal) => {
			const helper = helperOf(refusal);
			if (helper.program !== undefined || relative(facts, helper) !== undefined) return undefined;
			return `${helper.name} is in no absolute directory of PATH (relative and empty entries are not searched)`;
		},
		consequence: (refusal) => `only root and ${helperOf(refusal).name} can map more than the caller's own ID`,
		fix: (_, refusal) =>
			`Install ${helperOf(refusal).name} (Debian and Ubuntu: apt-get install uidmap; Fedora: dnf install shadow-utils; Alpine: apk add shadow-uidmap), or map only the caller's own ${helperOf(refusal).kind}`,
	},
	"no-new-privs": {
		explains: ["newuidmap"],
		check: (facts) => (facts.noNewPrivs ? "this process has no_new_privs set" : undefined),
		consequence: () => "set-user-ID programs and file capabilities have no effect",
		fix: () =>
			"Unset no_new_privs for this process: NoNewPrivileges= of systemd, no-new-privileges of a container engine",
	},
	"helper-bounding-set": {
		explains: ["newuidmap"],
		check: (facts, refusal) => {
			const missing = outsideBounds(facts, helperOf(refusal));
			return missing.length === 0
				? undefined
				: `the capability bounding set of this process lacks ${and(missing)}`;
		},
		consequence: (refusal, facts) => {
			const { kind, name } = helperOf(refusal);
			const forMap = facts.has(CAPABILITIES[kind], "CapBnd") === false;
			return forMap
				? `${name} cannot get it`
				: `a set-user-ID ${name}, which opens the map as root, needs it`;
		},
		fix: (facts, refusal) => {
			const missing = outsideBounds(facts, helperOf(refusal));
			const commands = helperCauses["helper-bounding-set"].command?.(facts, refusal);
			return commands === undefined
				? boundingFix(missing)
				: `Let root give the programs file capabilities in place of the set-user-ID bit: "${commands}"`;
		},
		command: (facts, refusal) => {
			if (outsideBounds(facts, helperOf(refusal)).some((each) => each !== "CAP_SYS_ADMIN")) return undefined;
			const all = ofRoot(facts);
			if (all.length === 0) return undefined;
			return [`chmod u-s ${all.map(({ file }) => file).join(" ")}`, ...all.map(setcap)].join(" && ");
		},
	},
	"other-gid": {
		explains: ["newuidmap"],
		check: (facts) => {
			const { own, entry } = facts.sources.gids() ?? {};
			const granted = /^\s*GRANT_AUX_GROUP_SUBIDS\s+"?yes"?\s*$/im.test(facts.read("/etc/login.defs") ?? "");
			return own === entry || granted
				? undefined
				: `this process has the gid ${own}, but its user has the gid ${entry} in the user database`;
		},
		consequence: (refusal) =>
			`${helperOf(refusal).program} refuses a process with another gid, for example after newgrp(1)`,
		fix: (facts) =>
			`Start this process with the gid ${facts.sources.gids()?.entry}, or let root write "GRANT_AUX_GROUP_SUBIDS yes" to /etc/login.defs`,
		command: () => `echo "GRANT_AUX_GROUP_SUBIDS yes" >> /etc/login.defs`,
	},
	"subid-file-missing": {
		explains: ["newuidmap"],
		check: (_, refusal) =>
			refusal.helper?.words === "" ? unopenable(helperOf(refusal).kind)?.evidence : undefined,
		consequence: () =>
			"before shadow 4.19, newuidmap and newgidmap need the file for a directory service too",
		fix: (_, refusal) => unopenable(helperOf(refusal).kind)?.fix ?? "",
		command: (_, refusal) => unopenable(helperOf(refusal).kind)?.command,
	},
	"helper-nosuid": {
		explains: ["newuidmap"],
		check: (facts, refusal) => {
			const { program } = helperOf(refusal);
			return program !== undefined && facts.sources.hasOption(program, "nosuid")
				? `${program} is on a mount with the option nosuid`
				: undefined;
		},
		consequence: () => "the set-user-ID bit and file capabilities have no effect there",
		fix: () => "Install newuidmap and newgidmap on a mount without nosuid, or remount it with suid",
	},
	"helper-not-privileged": {
		explains: ["newuidmap"],
		last: true, // The file may have capabilities, which Node.js cannot read.
		check: (facts, refusal) => {
			const { program } = helperOf(refusal);
			if (program === undefined || isSetUserId(facts, program)) return undefined;
			const later = next(facts, helperOf(refusal).name);
			return `${program} is not set-user-ID root${later === undefined ? "" : `, but ${later} is`}`;
		},
		consequence: (refusal) => `${helperOf(refusal).name} cannot write the map`,
		fix: (facts, refusal) => {
			const { program = "", name } = helperOf(refusal);
			const later = next(facts, name);
			if (later !== undefined) return `Put ${dirname(later)} before ${dirname(program)} in PATH`;
			const mine = ofRoot(facts).find(({ file }) => file === program);
			return mine === undefined
				? `Let root install the package uidmap (shadow-utils, shadow-uidmap) in place of ${program}`
				: `Let root run "chmod u+s ${program}", or "${setcap(mine)}"`;
		},
		command: (facts, refusal) => {
			if (next(facts, helperOf(refusal).name) !== undefined) return undefined;
			const files = ofRoot(facts).map(({ file }) => file);
			return files.length === 0 ? undefined : `chmod u+s ${files.join(" ")}`;
		},
	},
};
