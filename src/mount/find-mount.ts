import type { UsernsErrorCode } from "../errors.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Operation, syncOrAsync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { descendants, type MountEntry, readIn, readInLater, readMounts } from "./mountinfo.ts";
import { callStatmount, FOR_ENTRY, isFull, listPage, parseEntry } from "./statmount.ts";

/*
 * Finds one mount and the mounts below it by statmount(2) and listmount(2), without reading mountinfo, whose size other
 * users control. Both calls identify a mount by its unique mount ID, which is never reused. If the kernel does not
 * report all that mountinfo contains (before Linux 6.15), or refuses, mountinfo is read.
 */

/**
 * The entry of a descriptor's mount in mountinfo. Undefined if the mount is not in the mount namespace `mountNs` (undefined:
 * that of this process). `code` and `tried` are for the error.
 */
export function* findMount(
	fd: number,
	mountNs: number | undefined,
	code: UsernsErrorCode,
	tried: string,
): Operation<MountEntry | undefined> {
	const { id, unique } = mountIdsOf(fd, code, tried);
	const found = unique === 0n ? "unknown" : yield* readEntry(unique, namespaceId(mountNs));
	if (found === "gone") return undefined;
	if (found !== "unknown") return found;
	return yield* syncOrAsync(
		() => findIn(readIn(mountNs, code, tried), id),
		async () => findIn(await readInLater(mountNs, code, tried), id),
	);
}

/** Stops reading at the entry. */
function findIn(entries: Iterable<MountEntry>, id: number): MountEntry | undefined {
	for (const entry of entries) if (entry.id === id) return entry;
	return undefined;
}

/** All mounts on a descriptor's mount or below it, at any depth. */
export function* mountsBelow(
	fd: number,
	mountNs: number | undefined,
	code: UsernsErrorCode,
	tried: string,
): Operation<MountEntry[]> {
	const { id, unique } = mountIdsOf(fd, code, tried);
	const below = yield* listBelow(unique, mountNs);
	return below ?? descendants(yield* readMounts(mountNs, code, tried), id);
}

function mountIdsOf(fd: number, code: UsernsErrorCode, tried: string): { id: number; unique: bigint } {
	const ids = native().mountIds(fd);
	if (typeof ids === "number") throw kernelError(code, tried, { error: ids, step: "statx" });
	return { id: Number(ids[0]), unique: ids[1] };
}

/**
 * The mount namespace ID for statmount(2): 0 for this process's own. Undefined for another namespace before Linux 6.11, where
 * it has no ID.
 */
export function namespaceId(mountNs: number | undefined): bigint | undefined {
	if (mountNs === undefined) return 0n;
	const id = native().mountNamespaceId(mountNs);
	return typeof id === "number" ? undefined : id;
}

/** Undefined if mountinfo must be read instead. */
function* listBelow(unique: bigint, mountNs: number | undefined): Operation<MountEntry[] | undefined> {
	const namespace = unique === 0n ? undefined : namespaceId(mountNs);
	if (namespace === undefined) return undefined;
	const entries: MountEntry[] = [];
	for (let last = 0n; ; ) {
		const page = yield* listPage(namespace, unique, last);
		if (page === ERRNO.ENOENT) return entries;
		if (typeof page === "number") return undefined;
		for (const id of page) {
			const entry = yield* readEntry(id, namespace);
			if (entry === "unknown") return undefined;
			if (entry !== "gone") entries.push(entry);
		}
		if (!isFull(page)) return entries;
		last = page.at(-1) as bigint;
	}
}

function* readEntry(
	unique: bigint,
	namespace: bigint | undefined,
): Operation<MountEntry | "gone" | "unknown"> {
	if (namespace === undefined) return "unknown";
	const answer = yield* callStatmount(unique, namespace, FOR_ENTRY);
	if (answer === ERRNO.ENOENT) return "gone";
	return typeof answer === "number" ? "unknown" : (parseEntry(answer) ?? "unknown");
}
