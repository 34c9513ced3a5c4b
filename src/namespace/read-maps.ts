import { UsernsError } from "../errors.ts";
import { extentsOf, Mapping } from "../mapping/mapping.ts";
import { native, type Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { overflowId } from "../native/lookup.ts";
import { hintIn, kernelError } from "../native/steps.ts";
import { executeHints, ownProgramHints } from "./own-program.ts";
import { dumpableUnknown, traceable } from "./sysctls.ts";

/** The maps of a user namespace. They cannot change after gid_map is written. */
export interface NamespaceMaps {
	mapping: Mapping;
	setgroups: "deny" | "allow";
}

/**
 * Parses uid_map, gid_map and setgroups, with a colon between them. The kernel prints an ID that the caller's namespace
 * does not map as 4294967295, which no mapping can have: `ERR_USERNS_READ_MAPPING`.
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
			`${READING}: it has host IDs that the user namespace of this process does not map`,
			{ hint: "Read it in an ancestor of the namespace.", cause },
		);
	}
	return { mapping, setgroups: maps.startsWith("allow", second + 1) ? "allow" : "deny" };
}

/** Whether both maps are written. An empty map can still be written by the process that created the namespace. */
export function isComplete(mapping: Mapping): boolean {
	const { uid, gid } = extentsOf(mapping);
	return uid.length > 0 && gid.length > 0;
}

/** The maps that opening by a pid returned; undefined if they are not complete or cannot be parsed. */
export function completeMaps(maps: string): NamespaceMaps | undefined {
	try {
		const read = parseMaps(maps);
		return isComplete(read.mapping) ? read : undefined;
	} catch {
		return undefined;
	}
}

/** Reads the maps through a process that joins the namespace, on the calling thread. */
export function readMapsSync(fd: number): NamespaceMaps {
	return parseAnswer(fd, native().readMaps(fd, false));
}

/** Like `readMapsSync`, on another thread. */
export async function readMaps(fd: number): Promise<NamespaceMaps> {
	// The other thread needs a descriptor that no other code closes, because a closed number can be reused for another file.
	const held = native().duplicate(fd);
	if (held.error < 0) throw readError(fd, held);
	try {
		return parseAnswer(held.fd, await native().readMaps(held.fd, true));
	} finally {
		native().close(held.fd);
	}
}

function parseAnswer(fd: number, answer: string | Outcome): NamespaceMaps {
	if (typeof answer !== "string") throw readError(fd, answer);
	return parseMaps(answer);
}

const READING = "cannot read the mapping of the user namespace";

function readError(fd: number, outcome: Outcome): UsernsError {
	if (outcome.step === "traceable") return traceable("ERR_USERNS_READ_MAPPING", READING);
	if (outcome.step === "suid_dumpable")
		return dumpableUnknown("ERR_USERNS_READ_MAPPING", READING, outcome.error);
	const { step, error } = outcome;
	if (step === "own program" || step === "execute") {
		const hints = step === "execute" ? executeHints : ownProgramHints;
		return kernelError("ERR_USERNS_READ_MAPPING", READING, outcome, { hint: hintIn(hints, error) });
	}
	const joins = outcome.step === "join";
	return kernelError("ERR_USERNS_READ_MAPPING", READING, outcome, {
		hint: joins ? joinHint(fd, outcome.error) : procHints[outcome.error],
	});
}

const procHints: Record<number, string> = {
	// A process that cannot be traced is hidden by hidepid (proc(5); may_access in fs/proc/base.c).
	[ERRNO.ENOENT]:
		"Open the namespace by a pid, or read the mapping as root: the mount option hidepid of /proc hides the process that joins.",
};

/** The owner of the namespace in its parent namespace has every capability in it, as root of an ancestor has. */
function joinHint(fd: number, error: number): string | undefined {
	if (error !== ERRNO.EPERM) return undefined;
	const owner = native().ownerUid(fd);
	// A uid that this process's namespace does not map is the owner of nothing that it can run as.
	const also =
		owner > 0 && owner !== overflowId("uid") ? `, or as uid ${owner}, which owns the namespace` : "";
	return `Run it as root${also}: a process must join the namespace, which needs CAP_SYS_ADMIN in it.`;
}
