import { UsernsError } from "../errors.ts";
import type { Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError, ownProgramHints, shorten } from "../native/steps.ts";
import { type CreateRequest, isOneOwn } from "./create-options.ts";
import { type NewidmapPrograms, newidmapFailure, newidmapMissing } from "./newidmap.ts";
import { parseMaps } from "./read-maps.ts";
import { limitHint, restriction } from "./sysctls.ts";

export function isMapRefused({ step, error }: Outcome): boolean {
	return error === ERRNO.EPERM && (step === "uid_map" || step === "gid_map");
}

/** ENOSPC since Linux 4.9. EUSERS for the depth, and for both limits before that. */
export function isCountLimit(outcome: Outcome): boolean {
	return outcome.step === "clone" && (outcome.error === ERRNO.ENOSPC || outcome.error === ERRNO.EUSERS);
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

export function createError(
	request: CreateRequest,
	newidmap: NewidmapPrograms,
	outcome: Outcome,
): UsernsError {
	const { mapping, method } = request;
	const { step, error } = outcome;
	const tried = `cannot create a user namespace with the mapping ${shorten(mapping.id)}`;
	const sysctl = restriction(step, error);
	if (isCountLimit(outcome)) {
		return kernelError("ERR_USERNS_LIMIT", tried, outcome, { mapping: mapping.id, hint: limitHint() });
	}
	if (step === "newuidmap" || step === "newgidmap") {
		const failure = newidmapFailure(mapping, newidmap, outcome);
		if (sysctl === undefined || failure.code !== "ERR_USERNS_HELPER_FAILED") return failure;
		return new UsernsError("ERR_USERNS_RESTRICTED", failure.message, { ...failure, hint: sysctl });
	}
	if (sysctl !== undefined) {
		return kernelError("ERR_USERNS_RESTRICTED", tried, outcome, { mapping: mapping.id, hint: sysctl });
	}
	if (isMapRefused(outcome) && method !== "direct" && (method === "newuidmap" || !isOneOwn(mapping))) {
		return newidmapMissing(step === "gid_map" ? "gid" : "uid", mapping);
	}
	return kernelError("ERR_USERNS_CREATE", tried, outcome, {
		mapping: mapping.id,
		hint: hintFor(outcome, request),
	});
}

function hintFor({ step, error }: Outcome, { mapping, setgroups }: CreateRequest): string | undefined {
	if (step === "clone") return cloneHints[error];
	if (step === "own program" || step === "execute") return ownProgramHints[error];
	if (error === ERRNO.EPERM && step === "setgroups") {
		return 'Set { setgroups: "deny" }: the user namespace of this process denies setgroups, so a namespace in it cannot allow setgroups.';
	}
	if (error === ERRNO.EPERM && step === "gid_map" && setgroups === "allow" && isOneOwn(mapping)) {
		return 'Set { setgroups: "deny" }: without CAP_SETGID the caller\'s own gid can be mapped only if setgroups is denied.';
	}
	if (error === ERRNO.EPERM && (step === "uid_map" || step === "gid_map")) {
		return "Grant this process CAP_SETUID and CAP_SETGID, and CAP_SETFCAP for host ID 0, in its user namespace; or map only the caller's own IDs.";
	}
	if (error === ERRNO.EACCES && step !== "proc") {
		return "Make this process dumpable (prctl PR_SET_DUMPABLE): the /proc files of a process that is not dumpable belong to root.";
	}
	if (error === ERRNO.EROFS)
		return "Remount /proc writable: the maps are written there, and it is mounted read-only.";
	if (error === ERRNO.EXDEV || (step === "proc" && error === ERRNO.ENOENT)) {
		return "Mount the procfs of this process's pid namespace at /proc, with nothing mounted over its files.";
	}
	return undefined;
}

const cloneHints: Record<number, string> = {
	[ERRNO.EPERM]:
		"Check for a chroot, an ID of this process that its own user namespace does not map, a seccomp filter, and the sysctl kernel.unprivileged_userns_clone.",
	[ERRNO.EAGAIN]:
		"End processes, or raise their limit: RLIMIT_NPROC (ulimit -u), the cgroup's pids.max, /proc/sys/kernel/threads-max.",
	[ERRNO.EINVAL]: "Use a kernel with user namespaces (CONFIG_USER_NS).",
};
