import { UsernsError } from "../errors.ts";
import { extentsOf, Mapping } from "../mapping/mapping.ts";
import type { Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { linkRefused } from "../native/link-owner.ts";
import { kernelError } from "../native/steps.ts";
import { traceableError, unknownDumpableError } from "./sysctls.ts";

/** What is known of a namespace without asking the kernel again. Both are fixed once gid_map is written. */
export interface NamespaceMaps {
	mapping: Mapping;
	setgroups: "deny" | "allow";
}

/**
 * Of the three files as the C part answers them: with a colon between them. An ID that the caller's namespace does not
 * have is printed as 4294967295, which no mapping can hold.
 */
export function parseMaps(maps: string): NamespaceMaps {
	const first = maps.indexOf(":");
	const second = maps.indexOf(":", first + 1);
	let mapping: Mapping;
	try {
		mapping = Mapping.fromProc(maps.slice(0, first), maps.slice(first + 1, second));
	} catch (cause) {
		throw new UsernsError(
			"ERR_USERNS_READ_MAPPING",
			"the user namespace maps IDs that this process's own does not have",
			{ hint: "Read it from one of its ancestors.", cause },
		);
	}
	return { mapping, setgroups: maps.startsWith("allow", second + 1) ? "allow" : "deny" };
}

/** A kind that is empty may still be written by whoever makes the namespace. */
export function isComplete(mapping: Mapping): boolean {
	const { uid, gid } = extentsOf(mapping);
	return uid.length > 0 && gid.length > 0;
}

/** What opening by a pid found. What cannot be told now is told when it is asked for. */
export function completeMaps(maps: string): NamespaceMaps | undefined {
	try {
		const read = parseMaps(maps);
		return isComplete(read.mapping) ? read : undefined;
	} catch {
		return undefined;
	}
}

export function openError(tried: string, outcome: Pick<Outcome, "error" | "step" | "name">): UsernsError {
	const link = linkRefused(outcome.step ?? "", outcome.name ?? "");
	if (link !== undefined) {
		return kernelError("ERR_USERNS_OPEN", `${tried}: ${link.words}`, outcome, { hint: link.hint });
	}
	if (outcome.error === ERRNO.EMEDIUMTYPE) {
		return new UsernsError("ERR_USERNS_NOT_A_USER_NAMESPACE", `${tried}: it is something else`, {
			hint: "Name a file such as /proc/PID/ns/user, or one that a user namespace is mounted on.",
			step: "opening the path",
		});
	}
	return kernelError("ERR_USERNS_OPEN", tried, outcome, { hint: openHints[outcome.error] });
}

const openHints: Record<number, string> = {
	[ERRNO.EACCES]: "Looking into another's process needs its uid, or CAP_SYS_PTRACE in its user namespace.",
	[ERRNO.EPERM]: "Looking into another's process needs its uid, or CAP_SYS_PTRACE in its user namespace.",
	[ERRNO.ESRCH]: "The process has ended, or is not in this pid namespace.",
	[ERRNO.ENOENT]: "Nothing is there: the process has ended, or the path has a mistake.",
	[ERRNO.EAGAIN]: "The process moved to another user namespace at that moment: try again.",
	[ERRNO.EINVAL]: "That number is a thread, not a process: give the pid of its process.",
	[ERRNO.ETIMEDOUT]:
		"A file system on the path did not answer within ten seconds: check the FUSE and network file systems on it.",
};

const READING = "cannot read the mapping of the user namespace";

export function readError(outcome: Outcome): UsernsError {
	if (outcome.step === "traceable") return traceableError("ERR_USERNS_READ_MAPPING", READING);
	if (outcome.step === "suid_dumpable") {
		return unknownDumpableError("ERR_USERNS_READ_MAPPING", READING, outcome.error);
	}
	return kernelError("ERR_USERNS_READ_MAPPING", READING, outcome, {
		hint:
			outcome.step === "join" || outcome.step === "execute" ? joinHints[outcome.error] : procHint(outcome),
	});
}

/** A process that joins cannot be traced, which is what hidepid goes by (proc(5); may_access in fs/proc/base.c). */
function procHint({ error }: Outcome): string | undefined {
	if (error !== ERRNO.ENOENT) return undefined;
	return "The process that joined is not to be seen in /proc, as with its mount option hidepid: open the namespace by a pid, or read the mapping as root.";
}

const joinHints: Record<number, string> = {
	[ERRNO.EPERM]:
		"A process has to join the namespace to see its maps, which needs CAP_SYS_ADMIN in it: its owner and its ancestors' root have that. Opening it by a pid needs no joining.",
	[ERRNO.ENOENT]:
		'The program userns-join is missing beside the add-on: compile it with "node scripts/build-native.mjs".',
	[ERRNO.EACCES]:
		"The program userns-join may not be executed: is the package on a file system mounted noexec?",
};
