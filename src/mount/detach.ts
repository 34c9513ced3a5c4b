import { UsernsError } from "../errors.ts";
import { native, type Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import type { Operation } from "../native/operation.ts";
import { type Hints, hintIn, kernelError } from "../native/steps.ts";
import { findMount, mountsBelow } from "./find-mount.ts";
import { mountRefused } from "./mount-errors.ts";
import type { MountEntry } from "./mountinfo.ts";

/** Distinguishes a submount from another mount that got its mount point and its mount ID later. */
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
 * Unmounts one mount. Does nothing if the mount is no longer in its mount namespace. Throws if another mount was made on it
 * or below it since, because umount2(2) unmounts the topmost mount, and MNT_DETACH the whole tree. `own` returns true for a
 * submount of the mount; `mountNs` is its mount namespace (undefined: that of this process).
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
	// A mount that another program attached on it between the check and the call was unmounted instead.
	if (yield* isAttached(fd, mountNs)) throw coveredError(mine.mountPoint);
}

/** The mount's entry; undefined if it is not attached. Throws if another mount is on it. */
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
	const mounted = others.slice(0, 3).map((entry) => `${entry.fsType} at ${entry.mountPoint}`);
	throw new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${mine.mountPoint}: other mounts are on it: ${mounted.join(", ")}${others.length > 3 ? ", …" : ""}`,
		{
			hint: "Unmount them first, or call unmount(path, { recursive: true }). Nothing was changed.",
			step: "looking for other mounts",
		},
	);
}

/** Whether other code in this process has closed the descriptor. Its number may be reused for another file. */
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
			hint: `Unmount it with unmount(path): other code in this process closed descriptor ${fd}, which belongs to this package.`,
		});
	}
	return kernelError("ERR_USERNS_UNMOUNT", tried, outcome, { hint: hintIn(hints, outcome.error) });
}

const hints: Hints = {
	[ERRNO.EPERM]: mountRefused("unmounting", "umount2"),
	[ERRNO.EACCES]: mountRefused("unmounting", "umount2"),
	[ERRNO.EINVAL]:
		"Unmount it in its own mount namespace: it is locked in this one (mount_namespaces(7)), or is not in it.",
	[ERRNO.ETIMEDOUT]:
		"Check with findmnt(8) whether it is unmounted: a file system did not answer within ten seconds.",
};

export function coveredError(where: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${where}: another program mounted on it during the call, and its mount was unmounted instead`,
		{ hint: "Call again. Only one program at a time may mount at that mount point." },
	);
}

/** Whether the mount is still attached; false if that cannot be read, because umount2(2) succeeded. */
function* isAttached(fd: number, mountNs: number | undefined): Operation<boolean> {
	try {
		return (yield* findMount(fd, mountNs, "ERR_USERNS_UNMOUNT", "")) !== undefined;
	} catch {
		return false;
	}
}
