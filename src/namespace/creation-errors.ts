import { UsernsError } from "../errors.ts";
import type { Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError, shorten } from "../native/steps.ts";
import { type CreateRequest, isOneOwn } from "./create-options.ts";
import { type NewidmapPrograms, newidmapFailure, newidmapMissing } from "./newidmap.ts";
import { parseMaps } from "./read-maps.ts";
import { limitHint, restriction } from "./sysctls.ts";

export function isMapRefused({ step, error }: Outcome): boolean {
	return error === ERRNO.EPERM && (step === "uid_map" || step === "gid_map");
}

/** ENOSPC since Linux 4.9; EUSERS for the depth, and for both before that. */
export function isCountLimit(outcome: Outcome): boolean {
	return outcome.step === "clone" && (outcome.error === ERRNO.ENOSPC || outcome.error === ERRNO.EUSERS);
}

/** A map that another program wrote is the one that was asked for, or an error: never silently less. */
export function differs({ mapping, setgroups }: CreateRequest, maps: string): UsernsError | undefined {
	const got = parseMaps(maps);
	const tried = `cannot create a user namespace with the mapping ${shorten(mapping.id)}`;
	const details = { mapping: mapping.id, step: "reading the mapping back" };
	if (!got.mapping.equals(mapping)) {
		const id = got.mapping.id === "" ? "nothing" : shorten(got.mapping.id);
		return new UsernsError("ERR_USERNS_MAPPING_DIFFERS", `${tried}: what was written maps ${id}`, {
			...details,
			hint: "See that newuidmap and newgidmap in PATH are those of the package uidmap.",
		});
	}
	if (got.setgroups === setgroups) return undefined;
	return new UsernsError(
		"ERR_USERNS_MAPPING_DIFFERS",
		`${tried}: setgroups is "${got.setgroups}" in it, and "${setgroups}" was asked for`,
		{
			...details,
			hint: 'newgidmap denies setgroups where the own gid alone is mapped (CVE-2018-7169): map subordinate gids too, or leave setgroups at "deny".',
		},
	);
}

export function creationError(
	request: CreateRequest,
	newidmap: NewidmapPrograms,
	outcome: Outcome,
): UsernsError {
	const { mapping, method } = request;
	const { step, error } = outcome;
	const tried = `cannot create a user namespace with the mapping ${shorten(mapping.id)}`;
	const setting = restriction(step, error);
	if (isCountLimit(outcome)) {
		return kernelError("ERR_USERNS_LIMIT", tried, outcome, { mapping: mapping.id, hint: limitHint() });
	}
	if (step === "newuidmap" || step === "newgidmap") {
		const failure = newidmapFailure(mapping, newidmap, outcome);
		if (setting === undefined || failure.code !== "ERR_USERNS_HELPER_FAILED") return failure;
		return new UsernsError("ERR_USERNS_RESTRICTED", failure.message, { ...failure, hint: setting });
	}
	if (setting !== undefined) {
		return kernelError("ERR_USERNS_RESTRICTED", tried, outcome, { mapping: mapping.id, hint: setting });
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
	if (error === ERRNO.EPERM && step === "setgroups") {
		return 'The namespace of this process denies setgroups, so a namespace inside it cannot allow it: leave setgroups at "deny".';
	}
	if (error === ERRNO.EPERM && step === "gid_map" && setgroups === "allow" && isOneOwn(mapping)) {
		return 'Without CAP_SETGID the own gid can be mapped only where setgroups is denied: leave setgroups at "deny".';
	}
	if (error === ERRNO.EPERM && (step === "uid_map" || step === "gid_map")) {
		return "Mapping more than one's own ID needs CAP_SETUID and CAP_SETGID, and CAP_SETFCAP for host ID 0, in the namespace of this process.";
	}
	if (error === ERRNO.EACCES && step !== "proc") {
		return "The files of the new process belong to root: this process is not dumpable (prctl PR_SET_DUMPABLE), as a program with capabilities or a set-uid bit is.";
	}
	if (error === ERRNO.EROFS)
		return "/proc is mounted read-only here; creating a user namespace with maps needs to write to it.";
	if (error === ERRNO.EXDEV || (step === "proc" && error === ERRNO.ENOENT)) {
		return "What is mounted at /proc must be the procfs of this process's pid namespace, with nothing mounted over its files.";
	}
	return undefined;
}

const cloneHints: Record<number, string> = {
	[ERRNO.EPERM]:
		"The kernel forbids it here: a chroot, an ID of this process that its own namespace does not map, a seccomp filter, or a setting (kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns).",
	[ERRNO.EAGAIN]:
		"There are as many processes as there may be: see RLIMIT_NPROC (ulimit -u), the cgroup's pids.max and /proc/sys/kernel/threads-max.",
	[ERRNO.EINVAL]: "The kernel was built without user namespaces (CONFIG_USER_NS), or turns them off.",
};
