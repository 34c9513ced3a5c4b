import { readFileSync } from "node:fs";
import { show, UsernsError, type UsernsErrorCode } from "../errors.ts";
import type { Outcome } from "./addon.ts";
import { ERRNO } from "./errno.ts";
import { lacksProc, MOUNT_PROC } from "./process-status.ts";
import { type Hints, hintIn, kernelError } from "./steps.ts";

/*
 * Path look-ups of the C part (native/mount/path-walk.h): which symbolic links they follow, and the errors of a look-up that
 * failed or that led to something other than a namespace.
 */

/** A uid that no user has. With it a look-up follows only the symbolic links of root. */
export const NO_OWNER = 0xffffffff;

/** The ID that stat(2) shows for an owner without an ID. See user_namespaces(7), "Unmapped user and group IDs". */
export function overflowId(kind: "uid" | "gid"): number {
	try {
		return Number(readFileSync(`/proc/sys/kernel/overflow${kind}`, "utf8"));
	} catch {
		return 65534;
	}
}

/**
 * The uid, besides root, whose symbolic links are followed. Never the overflow uid, because it stands for every user
 * without an ID in this user namespace or on an ID-mapped mount.
 */
export function linkOwner(): number {
	const uid = process.geteuid?.() ?? NO_OWNER;
	return uid === overflowId("uid") ? NO_OWNER : uid;
}

const LINK: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
	"link fuse": "a symbolic link is on a FUSE file system, whose server can report any owner",
	"link idmapped": "a symbolic link is on an ID-mapped mount, which shows another owner than the one on disk",
});

const LINK_HINT =
	"Name the path that the link leads to if you trust it. A link is followed if it belongs to root or to the caller's effective uid.";

/** The words and hint for a symbolic link that a look-up did not follow; undefined for every other step. */
export function linkRefused(step: string, name: string): { words: string; hint: string } | undefined {
	const words = LINK[step];
	if (words !== undefined) return { words, hint: LINK_HINT };
	if (step !== "link owner") return undefined;
	const [, uid, link = ""] = /^(\d+) (.*)$/s.exec(name) ?? [];
	const unmapped =
		Number(uid) === overflowId("uid")
			? ` Uid ${uid} stands for every user that this user namespace does not map, even the host's root.`
			: "";
	return {
		words: `the symbolic link ${JSON.stringify(link)} belongs to another user, uid ${uid}`,
		hint: LINK_HINT + unmapped,
	};
}

const NOT_PERMITTED = "Use the uid of that process, or CAP_SYS_PTRACE in its user namespace.";

/** Hints for opening a process by its pid, or one of its files in /proc. */
export const PROCESS_HINTS: Readonly<Record<number, string>> = {
	[ERRNO.EACCES]: NOT_PERMITTED,
	[ERRNO.EPERM]: NOT_PERMITTED,
	[ERRNO.ESRCH]: "Check the pid: the process has ended, or is not in this pid namespace.",
	[ERRNO.EINVAL]: "Pass the pid of the process: the number is that of a thread.",
	[ERRNO.EAGAIN]: "Try again: the process moved to another namespace during the call.",
};

/** The hint for a look-up that reached its time limit. */
export const SILENT_PATH =
	"Check the FUSE and network file systems on the path: one of them did not answer within ten seconds.";

const NAMESPACE_HINTS: Hints = {
	...PROCESS_HINTS,
	[ERRNO.ENOENT]: () =>
		lacksProc() ? MOUNT_PROC : "Check the path: it does not exist, or its process has ended.",
	[ERRNO.ETIMEDOUT]: SILENT_PATH,
};

/** The error for a namespace of the kind `file` ("user" or "mnt") that could not be opened by a pid or a path. */
export function namespaceError(
	codes: { failed: UsernsErrorCode; other: UsernsErrorCode },
	tried: string,
	file: "user" | "mnt",
	outcome: Pick<Outcome, "error" | "step" | "name">,
): UsernsError {
	const link = linkRefused(outcome.step ?? "", outcome.name ?? "");
	if (link !== undefined)
		return kernelError(codes.failed, `${tried}: ${link.words}`, outcome, { hint: link.hint });
	if (outcome.error === ERRNO.EMEDIUMTYPE) {
		const kind = file === "user" ? "user" : "mount";
		return new UsernsError(codes.other, `${tried}: the file is not a ${kind} namespace`, {
			hint: `Pass a pid, or a path such as /proc/PID/ns/${file}.`,
			step: "opening the path",
		});
	}
	return kernelError(codes.failed, tried, outcome, { hint: hintIn(NAMESPACE_HINTS, outcome.error) });
}

/** A namespace's process or path in a message. */
export function showNamespace(target: number | string): string {
	return typeof target === "number" ? `of process ${target}` : `at ${show(target)}`;
}
