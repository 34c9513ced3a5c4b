import type { UsernsErrorCode } from "../errors.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Operation, syncOrAsync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { descendants, type MountEntry, readIn, readInLater } from "./mountinfo.ts";
import { ask, isFull, listPage, openAnswer, textAt } from "./statmount.ts";

/*
 * Finds one mount and the mounts below it by statmount(2) and listmount(2), without reading mountinfo, whose size other
 * users control. Both calls identify a mount by its unique mount ID, which is never reused. If the kernel does not
 * report all that mountinfo contains (before Linux 6.15), or refuses, mountinfo is read.
 */

/** Further fields of `struct statmount`. */
const OFFSET = {
	major: 16,
	minor: 20,
	fsType: 36,
	oldId: 56,
	oldParent: 60,
	attributes: 64,
	propagation: 72,
	root: 104,
	mountPoint: 108,
	subtype: 120,
	source: 124,
	supported: 144,
} as const;
/** STATMOUNT_SB_BASIC, MNT_BASIC, MNT_ROOT, MNT_POINT and FS_TYPE: set in every complete answer. */
const NEEDED = 0x01n | 0x02n | 0x08n | 0x10n | 0x20n;
/** Set only for a mount that has such a field, so SUPPORTED_MASK (Linux 6.15) shows whether the kernel knows them. */
const SUBTYPE = 0x100n;
const SOURCE = 0x200n;
const SUPPORTED = 0x1000n;
const WANTED = NEEDED | SUBTYPE | SOURCE | SUPPORTED;
/** MS_UNBINDABLE, MS_SHARED. */
const UNBINDABLE = 1n << 17n;
const SHARED = 1n << 20n;
/** The bits of MOUNT_ATTR__ATIME. */
const ATIME = 0x70n;
/** MOUNT_ATTR_… in the order and with the option names of show_mnt_opts() in fs/proc_namespace.c. */
const OPTIONS: readonly [mask: bigint, value: bigint, word: string][] = [
	[0x02n, 0x02n, "nosuid"],
	[0x04n, 0x04n, "nodev"],
	[0x08n, 0x08n, "noexec"],
	[ATIME, 0x10n, "noatime"],
	[0x80n, 0x80n, "nodiratime"],
	[ATIME, 0x00n, "relatime"],
	[0x200000n, 0x200000n, "nosymfollow"],
	[0x100000n, 0x100000n, "idmapped"],
];

/**
 * The mount that a descriptor is on, as an entry of mountinfo. Undefined when it is not in the mount namespace
 * `mountNs` (undefined: this process's own).
 */
export function* findMount(
	fd: number,
	mountNs: number | undefined,
	code: UsernsErrorCode,
	tried: string,
): Operation<MountEntry | undefined> {
	const { id, unique } = numbersOf(fd, code, tried);
	const found = unique === 0n ? "unknown" : yield* describe(unique, namespaceId(mountNs));
	if (found === "gone") return undefined;
	if (found !== "unknown") return found;
	return yield* syncOrAsync(
		() => findIn(readIn(mountNs, code, tried), id),
		async () => findIn(await readInLater(mountNs, code, tried), id),
	);
}

/** Reading stops at this entry. */
function findIn(entries: Iterable<MountEntry>, id: number): MountEntry | undefined {
	for (const entry of entries) if (entry.id === id) return entry;
	return undefined;
}

/** All mounts on the mount or below it, at any depth. */
export function* mountsBelow(
	fd: number,
	mountNs: number | undefined,
	code: UsernsErrorCode,
	tried: string,
): Operation<MountEntry[]> {
	const { id, unique } = numbersOf(fd, code, tried);
	const below = yield* listBelow(unique, mountNs);
	if (below !== undefined) return below;
	const entries = yield* syncOrAsync(
		() => [...readIn(mountNs, code, tried)],
		() => readInLater(mountNs, code, tried),
	);
	return descendants(entries, id);
}

function numbersOf(fd: number, code: UsernsErrorCode, tried: string): { id: number; unique: bigint } {
	const facts = native().mountFacts(fd);
	if (typeof facts === "number") throw kernelError(code, tried, { error: facts, step: "statx" });
	return { id: Number(facts[0]), unique: facts[1] };
}

/**
 * The mount namespace ID for statmount(2): 0 for this process's own. Undefined for another one before Linux 6.11, where
 * it has no ID.
 */
function namespaceId(mountNs: number | undefined): bigint | undefined {
	if (mountNs === undefined) return 0n;
	const id = native().mountNamespaceId(mountNs);
	return typeof id === "number" ? undefined : id;
}

function* listBelow(unique: bigint, mountNs: number | undefined): Operation<MountEntry[] | undefined> {
	const namespace = unique === 0n ? undefined : namespaceId(mountNs);
	if (namespace === undefined) return undefined;
	const entries: MountEntry[] = [];
	for (let last = 0n; ; ) {
		const page = yield* listPage(namespace, unique, last);
		if (page === ERRNO.ENOENT) return entries;
		if (typeof page === "number") return undefined;
		for (const id of page) {
			const entry = yield* describe(id, namespace);
			if (entry === "unknown") return undefined;
			if (entry !== "gone") entries.push(entry);
		}
		if (!isFull(page)) return entries;
		last = page.at(-1) as bigint;
	}
}

function* describe(
	unique: bigint,
	namespace: bigint | undefined,
): Operation<MountEntry | "gone" | "unknown"> {
	if (namespace === undefined) return "unknown";
	const answer = yield* ask(unique, namespace, WANTED);
	if (answer === ERRNO.ENOENT) return "gone";
	return typeof answer === "number" ? "unknown" : (parseEntry(answer) ?? "unknown");
}

/** Undefined when the answer lacks a field that mountinfo has. */
export function parseEntry(buffer: ArrayBuffer): MountEntry | undefined {
	const { view, mask, texts } = openAnswer(buffer);
	const supported = (mask & SUPPORTED) === 0n ? 0n : view.getBigUint64(OFFSET.supported, true);
	if ((mask & NEEDED) !== NEEDED || (supported & WANTED) !== WANTED) return undefined;
	const number = (offset: number) => view.getUint32(offset, true);
	const text = (offset: number) => textAt(texts, number(offset)).toString();
	const mountPoint = text(OFFSET.mountPoint);
	if (mountPoint === "") return undefined; // it cannot be reached from the root directory
	const attributes = view.getBigUint64(OFFSET.attributes, true);
	const subtype = (mask & SUBTYPE) === 0n ? "" : `.${text(OFFSET.subtype)}`;
	return {
		id: number(OFFSET.oldId),
		parent: number(OFFSET.oldParent),
		device: `${number(OFFSET.major)}:${number(OFFSET.minor)}`,
		root: text(OFFSET.root),
		mountPoint,
		options: optionsOf(attributes),
		fsType: `${text(OFFSET.fsType)}${subtype}`,
		source: (mask & SOURCE) === 0n ? "" : text(OFFSET.source),
		unbindable: (view.getBigUint64(OFFSET.propagation, true) & UNBINDABLE) !== 0n,
		shared: (view.getBigUint64(OFFSET.propagation, true) & SHARED) !== 0n,
	};
}

function optionsOf(attributes: bigint): string[] {
	const words = OPTIONS.filter(([mask, value]) => (attributes & mask) === value).map(([, , word]) => word);
	return [(attributes & 1n) === 0n ? "rw" : "ro", ...words];
}
