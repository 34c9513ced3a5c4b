import { UsernsError } from "../errors.ts";
import { native, type Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import type { Operation } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { findMount, mountsBelow } from "./find-mount.ts";
import type { MountEntry } from "./mountinfo.ts";

/** What tells a submount from another one that came to the same place and got the same number. */
export function markOf(entry: MountEntry): string {
	return `${entry.id} ${entry.device} ${entry.root} ${entry.mountPoint}`;
}

/** A mount that this process holds. */
export interface HeldRoot {
	/** A descriptor of its root. */
	fd: number;
	mountId: number;
	/** 0 before Linux 6.8. */
	uniqueId: number;
}

/**
 * Unmounts one mount. Does nothing when the mount is not in its mount namespace any more. Throws when something else
 * was mounted on it or below it since, because umount2(2) unmounts the topmost mount, and MNT_DETACH the whole tree.
 * `own` returns true for a submount that belongs to the mount; `mountNs` is its mount namespace, unless that is this
 * process's own.
 */
export function* detachMount(
	{ fd, mountId, uniqueId }: HeldRoot,
	own: (submount: MountEntry) => boolean,
	mountNs: number | undefined = undefined,
): Operation<void> {
	const mine = yield* findAlone(fd, mountId, own, mountNs);
	if (mine === undefined) return;
	const outcome = yield (later) => native().detach(fd, uniqueId, mountNs ?? -1, false, later);
	if (outcome.error < 0) throw detachError(outcome, fd, mine.mountPoint);
	// A mount that was put on top between the check and the call was unmounted instead, which is an error.
	if (yield* isAttached(fd, mountNs)) throw coveredError(mine.mountPoint);
}

/** The mount's entry, or undefined when it is not attached. Throws when something else is mounted on it. */
function* findAlone(
	fd: number,
	id: number,
	own: (submount: MountEntry) => boolean,
	mountNs: number | undefined,
): Operation<MountEntry | undefined> {
	const tried = `cannot unmount mount ${id}`;
	const mine = yield* findMount(fd, mountNs, "ERR_USERNS_UNMOUNT", tried);
	if (mine === undefined) return undefined;
	const below = yield* mountsBelow(fd, mountNs, "ERR_USERNS_UNMOUNT", tried);
	const others = below.filter((entry) => !own(entry));
	if (others.length === 0) return mine;
	const places = others.slice(0, 3).map((entry) => `${entry.fsType} at ${entry.mountPoint}`);
	throw new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${mine.mountPoint}: something else was mounted on it: ${places.join(", ")}${others.length > 3 ? ", …" : ""}`,
		{
			hint: "Unmount that first, or unmount the path recursively: unmount(path, { recursive: true }), userns umount --recursive. Nothing was changed.",
			step: "looking for other mounts",
		},
	);
}

/** Whether other code in this process has closed the descriptor; its number may be another file's by now. */
export function isForeign(error: number): boolean {
	return error === ERRNO.ESTALE || error === ERRNO.EBADF;
}

export function detachError(
	outcome: Pick<Outcome, "error" | "step">,
	fd: number,
	where: string,
): UsernsError {
	const tried = `cannot unmount ${where}`;
	if (isForeign(outcome.error)) {
		return kernelError("ERR_USERNS_UNMOUNT", tried, outcome, {
			hint: `Other code in this process closed descriptor ${fd}, which belongs to this package. The mount stays: unmount it with unmount(path).`,
		});
	}
	return kernelError("ERR_USERNS_UNMOUNT", tried, outcome, { hint: hints[outcome.error] });
}

const hints: Record<number, string> = {
	[ERRNO.EINVAL]: "The mount is locked, or is not in this mount namespace.",
	[ERRNO.ETIMEDOUT]:
		"A file system did not answer within ten seconds. The mount may be unmounted by now: check with findmnt(8).",
};

export function coveredError(where: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${where}: another program mounted something on it at that moment, which was unmounted instead`,
		{ hint: "Let one program at a time mount at that place." },
	);
}

/** False too when it cannot be told: the kernel has said that it unmounted. */
function* isAttached(fd: number, mountNs: number | undefined): Operation<boolean> {
	try {
		return (yield* findMount(fd, mountNs, "ERR_USERNS_UNMOUNT", "")) !== undefined;
	} catch {
		return false;
	}
}
