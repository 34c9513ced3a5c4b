import { setTimeout as sleep } from "node:timers/promises";
import { checkOptions, invalidArgument, show, UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { checkLimits, procText } from "../mapping/proc.ts";
import { Descriptor } from "../native/descriptor.ts";
import { native, type Outcome } from "../native/load.ts";
import { ERRNO, kernelError, shorten } from "../native/steps.ts";
import { cutAtOwn } from "./own-extents.ts";

/** What makes namespaces differ beside their mapping. */
export interface CreateOptions {
	/**
	 * Whether programs inside may call setgroups(2). `"deny"` unless said otherwise: dropping a group must not become
	 * a way around a file that the group may *not* read (CVE-2014-8989). It cannot be changed afterwards.
	 */
	setgroups?: "deny" | "allow";
}

export const SETGROUPS = ["deny", "allow"] as const;

export function checkSetgroups(what: string, value: unknown): "deny" | "allow" {
	if (value === undefined) return "deny";
	if (value !== "deny" && value !== "allow") {
		throw invalidArgument(`${what}: setgroups must be "deny" or "allow", not ${show(value)}`);
	}
	return value;
}

export function checkSignal(what: string, signal: unknown): AbortSignal | undefined {
	if (signal === undefined) return undefined;
	if (!(signal instanceof AbortSignal))
		throw invalidArgument(`${what}: signal must be an AbortSignal, not ${show(signal)}`);
	return signal;
}

/** Checks the options of every call that creates. `known` are their names. */
export function checkCreateOptions(
	what: string,
	options: (CreateOptions & { signal?: AbortSignal }) | undefined,
	known: readonly string[],
): { setgroups: "deny" | "allow"; signal: AbortSignal | undefined } {
	checkOptions(what, options, known);
	return {
		setgroups: checkSetgroups(what, options?.setgroups),
		signal: checkSignal(what, options?.signal),
	};
}

/** What is written to the files of the creation process. */
interface Texts {
	uid: string;
	gid: string;
}

function prepare(mapping: Mapping): Texts {
	const uid = cutAtOwn("uid", mapping.uidMappings);
	const gid = cutAtOwn("gid", mapping.gidMappings);
	if (uid.length === 0 && gid.length === 0) {
		throw new UsernsError("ERR_USERNS_INVALID_MAPPING", "an empty mapping makes no user namespace", {
			hint: "Give at least one extent, such as 0:100000:65536.",
		});
	}
	// Cutting makes more lines, which may be more than the kernel takes.
	checkLimits("uid", uid);
	checkLimits("gid", gid);
	return { uid: procText(uid), gid: procText(gid) };
}

/**
 * Milliseconds to wait between tries after ENOSPC, 205 in all: the kernel gives a namespace's count back only when an
 * RCU grace period and a work queue are through, measured a median 59 ms after the process was reaped.
 */
const PAUSES = [5, 10, 20, 40, 60, 70];

/**
 * Makes a namespace in the thread pool; the event loop only waits. The answer owns its descriptor; `what` names the
 * owner in messages.
 */
export async function createDescriptor(
	mapping: Mapping,
	setgroups: "deny" | "allow",
	what: string,
): Promise<Descriptor> {
	const { uid, gid } = prepare(mapping);
	let outcome = await native().create(uid, gid, setgroups, true);
	for (const pause of PAUSES) {
		if (!isCountLimit(outcome)) break;
		await sleep(pause);
		outcome = await native().create(uid, gid, setgroups, true);
	}
	return finish(mapping, outcome, what);
}

/** The same on the calling thread. */
export function createDescriptorSync(
	mapping: Mapping,
	setgroups: "deny" | "allow",
	what: string,
): Descriptor {
	const { uid, gid } = prepare(mapping);
	let outcome = native().create(uid, gid, setgroups, false);
	for (const pause of PAUSES) {
		if (!isCountLimit(outcome)) break;
		Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
		outcome = native().create(uid, gid, setgroups, false);
	}
	return finish(mapping, outcome, what);
}

/** ENOSPC since Linux 4.9; EUSERS for the depth, and for both before that. */
function isCountLimit(outcome: Outcome): boolean {
	return outcome.step === "clone" && (outcome.error === ERRNO.ENOSPC || outcome.error === ERRNO.EUSERS);
}

function finish(mapping: Mapping, outcome: Outcome, what: string): Descriptor {
	if (outcome.error === 0) return new Descriptor(outcome.fd, what);
	throw kernelError(
		isCountLimit(outcome) ? "ERR_USERNS_LIMIT" : "ERR_USERNS_CREATE",
		`cannot create a user namespace with the mapping ${shorten(mapping.id)}`,
		outcome,
		{ mapping: mapping.id, hint: hintFor(outcome) },
	);
}

function hintFor({ step, error }: Outcome): string | undefined {
	if (step === "clone") return cloneHints[error];
	if (error === ERRNO.EPERM && step === "setgroups") {
		return 'The namespace of this process denies setgroups, so a namespace inside it cannot allow it: leave setgroups at "deny".';
	}
	if (error === ERRNO.EPERM && (step === "uid_map" || step === "gid_map")) {
		return "Mapping more than one's own ID needs CAP_SETUID and CAP_SETGID, and CAP_SETFCAP for host ID 0, in the namespace of this process.";
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
	[ERRNO.ENOSPC]:
		"Raise /proc/sys/user/max_user_namespaces or close namespaces that are not used any more; or they are nested more than 32 deep already.",
	[ERRNO.EUSERS]:
		"Raise /proc/sys/user/max_user_namespaces or close namespaces that are not used any more; or they are nested more than 32 deep already.",
	[ERRNO.EAGAIN]:
		"There are as many processes as there may be: see RLIMIT_NPROC (ulimit -u), the cgroup's pids.max and /proc/sys/kernel/threads-max.",
	[ERRNO.EINVAL]: "The kernel was built without user namespaces (CONFIG_USER_NS), or turns them off.",
};
