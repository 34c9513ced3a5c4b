import { UsernsError } from "../errors.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { native } from "../native/load.ts";
import { kernelError } from "../native/steps.ts";
import { findMount, mountsBelow } from "./find-mount.ts";
import type { MountEntry } from "./mountinfo.ts";

/** What tells a submount from another one that came to the same place and got the same number. */
export function markOf(entry: MountEntry): string {
	return `${entry.id} ${entry.device} ${entry.root} ${entry.mountPoint}`;
}

/**
 * Takes one mount off: the one whose root the descriptor is and whose number is `id`. The descriptor keeps the
 * mount, so its number cannot be another's. Does nothing when it is not in this mount namespace any more. Refuses
 * when something else was mounted on it or below it since: umount2(2) takes the topmost, and MNT_DETACH the whole
 * tree. `own` says of a submount that it belongs to the mount; `mountNs` is the mount namespace that it is in, when
 * it is in another.
 */
export function detach(
	fd: number,
	id: number,
	own: (submount: MountEntry) => boolean,
	mountNs: number | undefined = undefined,
): void {
	const tried = `cannot unmount mount ${id}`;
	const mine = findMount(fd, mountNs, "ERR_USERNS_UNMOUNT", tried);
	if (mine === undefined) return;
	const others = mountsBelow(fd, mountNs, "ERR_USERNS_UNMOUNT", tried).filter((entry) => !own(entry));
	if (others.length > 0) {
		const places = others.slice(0, 3).map((entry) => `${entry.fsType} at ${entry.mountPoint}`);
		throw new UsernsError(
			"ERR_USERNS_UNMOUNT",
			`cannot unmount ${mine.mountPoint}: something else was mounted on it: ${places.join(", ")}${others.length > 3 ? ", …" : ""}`,
			{ hint: "Unmount that first; nothing was changed.", step: "looking for other mounts" },
		);
	}
	const error = mountNs === undefined ? native().detach(fd) : native().detachIn(mountNs, fd);
	if (error < 0) {
		throw kernelError("ERR_USERNS_UNMOUNT", `cannot unmount ${mine.mountPoint}`, { error, step: "umount" });
	}
	// Between the look and the call somebody may have mounted on top; then that one went, and this must be said.
	if (isAttached(fd, mountNs)) throw coveredError(mine.mountPoint);
}

function coveredError(where: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_UNMOUNT",
		`cannot unmount ${where}: something was mounted on it at that very moment and was unmounted instead`,
		{ hint: "Let one program at a time mount at that place." },
	);
}

/**
 * The same for a mount that has none of its own below it, in this mount namespace, without reading the whole table, and closes
 * its descriptor: the mount's number. 0 when that cannot be done (before Linux 6.8), something is mounted on it, or the
 * kernel refuses: nothing was changed then, and `detach` does it or says why not.
 */
export function unmountAlone(descriptor: Descriptor): number {
	const { fd } = descriptor;
	const answer = native().unmount(fd);
	if (answer < 0) return 0;
	if (answer === 0) {
		const mine = findMount(fd, undefined, "ERR_USERNS_UNMOUNT", "");
		throw coveredError(mine?.mountPoint ?? `mount ${mountIdOf(fd)}`);
	}
	descriptor.wasClosed();
	return answer;
}

/** As in the first column of mountinfo, or a negative errno. */
export function mountIdOf(fd: number): number {
	const facts = native().mountFacts(fd);
	return typeof facts === "number" ? facts : Number(facts[0]);
}

/** False too when it cannot be told: the kernel has said that it unmounted. */
function isAttached(fd: number, mountNs: number | undefined): boolean {
	try {
		return findMount(fd, mountNs, "ERR_USERNS_UNMOUNT", "") !== undefined;
	} catch {
		return false;
	}
}
