import { UsernsError } from "../errors.ts";
import { missingCapabilities, type Refusal } from "../inspect/cause.ts";
import { causeHint, remainingHint } from "../inspect/causes.ts";
import { type Capability, Facts, system } from "../inspect/facts.ts";
import { SYSCTL_CAUSES } from "../inspect/kernel-causes.ts";
import { extentsOf, type Mapping } from "../mapping/mapping.ts";
import type { Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Hint, hintIn, kernelError, shorten } from "../native/steps.ts";
import { type CreateRequest, isOneOwn } from "./create-options.ts";
import { type NewidmapPrograms, newidmapFailure, newidmapMissing } from "./newidmap.ts";
import { executeHints, ownProgramHints } from "./own-program.ts";
import { parseMaps } from "./read-maps.ts";

export function isMapRefused({ step, error }: Outcome): boolean {
	return error === ERRNO.EPERM && (step === "uid_map" || step === "gid_map");
}

/** The call that creates the namespace: clone(2), or unshare(2) of userns-join. */
function isCreation({ step }: Outcome): boolean {
	return step === "clone" || step === "unshare";
}

/** ENOSPC since Linux 4.9. EUSERS for the depth, and for both limits before that. */
export function isCountLimit(outcome: Outcome): boolean {
	return isCreation(outcome) && (outcome.error === ERRNO.ENOSPC || outcome.error === ERRNO.EUSERS);
}

/** The error for a namespace whose maps, written by newuidmap and newgidmap, are not the requested ones. */
export function mappingDiffers({ mapping, setgroups }: CreateRequest, maps: string): UsernsError | undefined {
	const written = parseMaps(maps);
	const tried = `cannot create a user namespace with the mapping ${shorten(mapping.id)}`;
	const details = { mapping: mapping.id, step: "reading the mapping back" };
	if (!written.mapping.equals(mapping)) {
		const id = written.mapping.id === "" ? "empty" : shorten(written.mapping.id);
		return new UsernsError("ERR_USERNS_MAPPING_DIFFERS", `${tried}: the mapping that was written is ${id}`, {
			...details,
			hint: "Check that newuidmap and newgidmap in PATH are those of the package uidmap.",
		});
	}
	if (written.setgroups === setgroups) return undefined;
	return new UsernsError(
		"ERR_USERNS_MAPPING_DIFFERS",
		`${tried}: setgroups is "${written.setgroups}", not "${setgroups}"`,
		{
			...details,
			hint: "Map subordinate gids too: newgidmap denies setgroups if only the caller's own gid is mapped (CVE-2018-7169).",
		},
	);
}

/**
 * The capabilities that a map needs, by new_idmap_permitted() and verify_root_map() in kernel/user_namespace.c. None for the
 * caller's own ID alone, except that host ID 0 always needs CAP_SETFCAP.
 */
function mapNeeds(mapping: Mapping): Capability[] {
	const { uid, gid } = extentsOf(mapping);
	const isOwn = (extents: typeof uid, own: number | undefined) =>
		extents.length === 0 || (extents.length === 1 && extents[0]?.size === 1 && extents[0].hostID === own);
	return [
		...(isOwn(uid, process.geteuid?.()) ? [] : (["CAP_SETUID"] as const)),
		...(isOwn(gid, process.getegid?.()) ? [] : (["CAP_SETGID"] as const)),
		...(uid.some(({ hostID }) => hostID === 0) ? (["CAP_SETFCAP"] as const) : []),
	];
}

const MAP_ERRORS: readonly number[] = [ERRNO.EPERM, ERRNO.EACCES, ERRNO.EROFS];
const MAP_STEPS = ["proc", "uid_map", "setgroups", "gid_map", "namespace", "newuidmap", "newgidmap"];

/** What the kernel refused; undefined for another failure. newuidmap and newgidmap report a refusal in words, without an errno. */
function refusalOf({ step = "", error }: Outcome, mapping: Mapping): Refusal | undefined {
	if (step === "clone" || step === "unshare") {
		const calls = step === "clone" ? (["clone3", "clone"] as const) : (["unshare"] as const);
		return { operation: "create", doing: "creating a user namespace", error, calls };
	}
	const byProgram = step.startsWith("new");
	if (!MAP_STEPS.includes(step) || (!byProgram && !MAP_ERRORS.includes(error))) return undefined;
	// newuidmap has the capabilities itself if it can get them. It cannot give more to root than root has.
	const needs = step.endsWith("_map") || (byProgram && process.geteuid?.() === 0) ? mapNeeds(mapping) : [];
	return { operation: "write a map", doing: "this map", error: byProgram ? ERRNO.EPERM : error, needs };
}

export function createError(
	request: CreateRequest,
	newidmap: NewidmapPrograms,
	outcome: Outcome,
): UsernsError {
	const { mapping, method } = request;
	const { step } = outcome;
	const tried = `cannot create a user namespace with the mapping ${shorten(mapping.id)}`;
	const refusal = refusalOf(outcome, mapping);
	const causes = refusal === undefined ? undefined : causeHint(refusal);
	const details = { mapping: mapping.id, hint: causes };
	if (isCountLimit(outcome)) return kernelError("ERR_USERNS_LIMIT", tried, outcome, details);
	const bySysctl = causes?.some(({ id }) => SYSCTL_CAUSES.includes(id));
	// Root may map every ID if it has the capabilities, so a line in /etc/subuid does not help.
	const missing = missingCapabilities(new Facts(), refusal ?? {});
	if (
		!bySysctl &&
		missing.length > 0 &&
		outcome.error !== ERRNO.EROFS &&
		process.geteuid?.() === 0 &&
		MAP_STEPS.includes(step ?? "")
	) {
		const kind = missing.some((each) => each !== "CAP_SETGID") ? "uid" : "gid";
		return kernelError("ERR_USERNS_CREATE", tried, { error: ERRNO.EPERM, step: `${kind}_map` }, details);
	}
	if (step === "newuidmap" || step === "newgidmap") {
		const failure = newidmapFailure(mapping, newidmap, outcome);
		if (!bySysctl || failure.code !== "ERR_USERNS_HELPER_FAILED") return failure;
		return new UsernsError("ERR_USERNS_RESTRICTED", failure.message, { ...failure, hint: undefined, causes });
	}
	if (bySysctl) return kernelError("ERR_USERNS_RESTRICTED", tried, outcome, details);
	if (isMapRefused(outcome) && method !== "direct" && (method === "newuidmap" || !isOneOwn(mapping))) {
		return newidmapMissing(step === "gid_map" ? "gid" : "uid", mapping);
	}
	return kernelError("ERR_USERNS_CREATE", tried, outcome, {
		...details,
		hint: details.hint ?? hintFor(outcome, request),
	});
}

/** Whether the files of this process in /proc belong to it. */
function isDumpable(): boolean {
	return system().stat("/proc/self")?.uid === process.geteuid?.();
}

function hintFor(outcome: Outcome, { mapping, setgroups }: CreateRequest): Hint | undefined {
	const { step, error } = outcome;
	if (isCreation(outcome)) {
		return error === ERRNO.EPERM || error === ERRNO.EACCES ? remainingHint("create") : undefined;
	}
	if (step === "own program") return hintIn(ownProgramHints, error);
	if (step === "execute") return hintIn(executeHints, error);
	if (error === ERRNO.EPERM && step === "setgroups") {
		return 'Set { setgroups: "deny" }: the user namespace of this process denies setgroups, so a namespace in it cannot allow setgroups.';
	}
	if (error === ERRNO.EPERM && step === "gid_map" && setgroups === "allow" && isOneOwn(mapping)) {
		return 'Set { setgroups: "deny" }, and no groups: without CAP_SETGID the caller\'s own gid can be mapped only if setgroups is denied.';
	}
	if (error === ERRNO.EPERM && (step === "uid_map" || step === "gid_map"))
		return remainingHint("write a map");
	if (error === ERRNO.EACCES) {
		if (step !== "proc" && !isDumpable()) {
			return "Make this process dumpable (prctl PR_SET_DUMPABLE): the /proc files of a process that is not dumpable belong to root.";
		}
		const remaining = remainingHint("write a map");
		return typeof remaining === "string" ? undefined : remaining;
	}
	if (error === ERRNO.EXDEV || (step === "proc" && error === ERRNO.ENOENT)) {
		return "Mount the procfs of this process's pid namespace at /proc, with nothing mounted over its files.";
	}
	return undefined;
}
