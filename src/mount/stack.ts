import { native } from "../native/addon.ts";
import type { Operation } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import type { HeldRoot } from "./detach.ts";
import { type MountEntry, readMounts } from "./mountinfo.ts";

/** The mounts stacked on mount `id` at the same mount point, the lowest first. Never contains a mount beneath `id`. */
export function stackedOn(entries: readonly MountEntry[], id: number): MountEntry[] {
	const mine = entries.find((entry) => entry.id === id);
	const stack: MountEntry[] = [];
	const seen = new Set([id]);
	for (let below = mine; below !== undefined; ) {
		const under: MountEntry = below;
		below = entries.find(
			({ id, parent, mountPoint }) => parent === under.id && mountPoint === under.mountPoint && !seen.has(id),
		);
		if (below === undefined) break;
		seen.add(below.id);
		stack.push(below);
	}
	return stack;
}

/** The mounts beneath mount `id` at the same mount point, the uppermost first. */
export function stackedUnder(entries: readonly MountEntry[], id: number): MountEntry[] {
	const byId = new Map(entries.map((entry) => [entry.id, entry]));
	const stack: MountEntry[] = [];
	const seen = new Set([id]);
	for (let above = byId.get(id); above !== undefined; ) {
		const under = byId.get(above.parent);
		if (under === undefined || seen.has(under.id) || under.mountPoint !== above.mountPoint) break;
		seen.add(under.id);
		stack.push(under);
		above = under;
	}
	return stack;
}

/** The most mounts that one call unmounts at one mount point, because another program can keep mounting there. */
export const MOST_STACKED = 1000;

/**
 * Unmounts the mounts stacked on a mount at the same mount point, for `recursive`. umount2(2) unmounts the topmost
 * mount at the path of a descriptor, and never a mount beneath the descriptor's own; the mounts on it are made private
 * together with it.
 */
export function* uncover(
	{ fd, mountId, uniqueId }: HeldRoot,
	mountNs: number | undefined,
	tried: string,
): Operation<void> {
	for (let i = 0; i < MOST_STACKED; i++) {
		if (stackedOn(yield* readMounts(mountNs, "ERR_USERNS_UNMOUNT", tried), mountId).length === 0) return;
		const outcome = yield (later) => native().detach(fd, uniqueId, mountNs ?? -1, false, later);
		if (outcome.error < 0) throw kernelError("ERR_USERNS_UNMOUNT", tried, outcome);
	}
}
