import { UsernsError, type UsernsErrorDetails } from "../errors.ts";
import { CLONE_NEW, native } from "../native/addon.ts";
import { PROCESS_HINTS } from "../native/lookup.ts";
import { kernelError } from "../native/steps.ts";
import type { NamespaceKind } from "./enter-options.ts";
import type { EnterRequest, EnterTarget } from "./enter-request.ts";

/** A process whose namespaces userns-enter joins. */
export interface JoinedProcess {
	/** A pidfd, which the caller closes. */
	fd: number;
	/** CLONE_NEW… flags. */
	flags: number;
}

/**
 * Opens the process of the option `join` by a pidfd, once, so that all namespaces are those of one process even if its pid is reused.
 * Throws unless the process is in the user namespace of the program, and of each kind in another namespace than this process.
 */
export function openJoined(
	tried: string,
	target: EnterTarget,
	{ pid, kinds, all }: NonNullable<EnterRequest["join"]>,
): JoinedProcess {
	const joins = `${tried}: cannot join the namespaces of process ${pid}`;
	const fd = opened(joins, native().openProcess(pid));
	try {
		if (inodeOfProcess(joins, fd, "user") !== inodeOf(joins, target.fd)) {
			throw refused(joins, "it is in another user namespace", "Open the user namespace by the same pid.");
		}
		const own = opened(joins, native().openProcess(process.pid));
		try {
			const others = kinds.filter(
				(kind) => inodeOfProcess(joins, fd, kind) !== inodeOfProcess(joins, own, kind),
			);
			const same = all ? undefined : kinds.find((kind) => !others.includes(kind));
			if (same !== undefined) {
				throw refused(joins, `its ${same} namespace is that of this process`, sameHint(same));
			}
			return { fd, flags: others.reduce((flags, kind) => flags | CLONE_NEW[kind], 0) };
		} finally {
			native().close(own);
		}
	} catch (error) {
		native().close(fd);
		throw error;
	}
}

function sameHint(kind: NamespaceKind): string {
	return kind === "pid"
		? 'Name a process inside: the pid that spawn returns for { unshare: ["pid"] } is outside, and its children are inside.'
		: `Leave ${kind} out of the kinds.`;
}

function refused(joins: string, why: string, hint: string): UsernsError {
	const details: UsernsErrorDetails = { step: "comparing the namespaces", hint };
	return new UsernsError("ERR_USERNS_SPAWN", `${joins}: ${why}`, details);
}

function opened(
	joins: string,
	{ fd, error, step = "" }: { fd: number; error: number; step?: string },
): number {
	if (error >= 0) return fd;
	throw kernelError("ERR_USERNS_SPAWN", joins, { error, step }, { hint: PROCESS_HINTS[error] });
}

function inodeOfProcess(joins: string, process: number, kind: keyof typeof CLONE_NEW): bigint {
	const fd = opened(joins, native().namespaceOf(process, CLONE_NEW[kind]));
	try {
		return inodeOf(joins, fd);
	} finally {
		native().close(fd);
	}
}

/** The inode number identifies an open namespace, because all namespaces are files of one file system. */
function inodeOf(joins: string, fd: number): bigint {
	const identity = native().identify(fd);
	if (typeof identity !== "number") return identity[1];
	throw kernelError("ERR_USERNS_SPAWN", joins, { error: identity, step: "identify" });
}
