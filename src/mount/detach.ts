import { UsernsError } from "../errors.ts";
import { native, type Outcome } from "../native/load.ts";
import { ERRNO, kernelError } from "../native/steps.ts";
import { findMount, mountsBelow } from "./find-mount.ts";
import type { MountEntry } from "./mountinfo.ts";

/** What tells a submount from another one that came to the same place and got the same number. */
export function markOf(entry: MountEntry): string {
	return `${entry.id} ${entry.device} ${entry.root} ${entry.mountPoint}`;
}

/**
 * Unmounts one mount: the one whose root the descriptor is and whose mount ID is `id`. The descriptor keeps the mount, so
 * its mount ID cannot be another's. Does nothing when the mount is not in this mount namespace any more. Refuses when
 * something else was mounted on it or below it since, because umount2(2) unmounts the topmost mount, and MNT_DETACH the whole
 * tree. `own` says of a submount that it belongs to the mount; `mountNs` is the mount namespace that it is in, when it is in
 * another; `uniqueId` is its unique mount ID, 0 where it is not known.
 */
export function detach(
	fd: number,
	id: number,
	own: (submount: MountEntry) => boolean,
	mountNs: number | undefined = undefined,
	uniqueId = 0,
): void {
	const mine = findAlone(fd, id, own, mountNs);
	if (mine === undefined) return;
	check(native().detach(fd, uniqueId, mountNs ?? -1, false, false), fd, mine, mountNs);
}

/** The same while the event loop goes on. */
export async function detachAsync(
	fd: number,
	id: number,
	own: (submount: MountEntry) => boolean,
	mountNs: number | undefined = undefined,
	uniqueId = 0,
): Promise<void> {
	const mine = findAlone(fd, id, own, mountNs);
	if (mine === undefined) return;
	check(await native().detach(fd, uniqueId, mountNs ?? -1, false, true), fd, mine, mountNs);
}

/** The mount's line, or undefined when it is not there. Throws when something else is mounted on it. */
function findAlone(
	fd: number,
	id: number,
	own: (submount: MountEntry) => boolean,
	mountNs: number | undefined,
): MountEntry | undefined {
	const tried = `cannot unmount mount ${id}`;
	const mine = findMount(fd, mountNs, "ERR_USERNS_UNMOUNT", tried);
	if (mine === undefined) return undefined;
	const others = mountsBelow(fd, mountNs, "ERR_USERNS_UNMOUNT", tried).filter((entry) => !own(entry));
	if (others.length === 0) return mine;
	const places = others.slice(0, 3).map((entry) => `${entry.fsType} at ${entry.mountPoint}`);
	throw new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${mine.mountPoint}: something else was mounted on it: ${places.join(", ")}${others.length > 3 ? ", …" : ""}`,
		{ hint: "Unmount that first; nothing was changed.", step: "looking for other mounts" },
	);
}

function check(outcome: Outcome, fd: number, mine: MountEntry, mountNs: number | undefined): void {
	if (outcome.error < 0) throw detachError(outcome, fd, mine.mountPoint);
	// Between the look and the call something may have been mounted on top; then that was unmounted, which is an error.
	if (isAttached(fd, mountNs)) throw coveredError(mine.mountPoint);
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
			hint: `Other code in this process closed descriptor ${fd}, which belongs to this package; the mount stays until unmount(path).`,
		});
	}
	return kernelError("ERR_USERNS_UNMOUNT", tried, outcome, { hint: hints[outcome.error] });
}

const hints: Record<number, string> = {
	[ERRNO.EINVAL]: "The mount is locked, or is not in this mount namespace.",
	[ERRNO.ETIMEDOUT]:
		"A file system did not answer within ten seconds. The mount may be gone by now: look with findmnt(8).",
};

export function coveredError(where: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${where}: something was mounted on it at that very moment and was unmounted instead`,
		{ hint: "Let one program at a time mount at that place." },
	);
}

/** False too when it cannot be told: the kernel has said that it unmounted. */
function isAttached(fd: number, mountNs: number | undefined): boolean {
	try {
		return findMount(fd, mountNs, "ERR_USERNS_UNMOUNT", "") !== undefined;
	} catch {
		return false;
	}
}
