import { UsernsError } from "../errors.ts";
import { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Operation, runSync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";

/**
 * What statmount(2) writes, read with every bound checked: `struct statmount` of <linux/mount.h>, 512 bytes and then
 * texts, to which the offsets are relative. Little-endian, as every processor that this package runs on.
 */
const TEXTS = 512;
const OFFSET = {
	size: 0,
	mask: 8,
	uniqueId: 40,
	oldId: 56,
	attributes: 64,
	uidMapCount: 152,
	uidMap: 156,
	gidMapCount: 160,
	gidMap: 164,
} as const;
/** STATMOUNT_…; the maps are told since Linux 6.15. */
const MASK = { basic: 0x02n, uidMap: 0x2000n, gidMap: 0x4000n } as const;
/** What tells a mount's numbers alone. */
export const BASIC: bigint = MASK.basic;
const WANTED = MASK.basic | MASK.uidMap | MASK.gidMap;
/** MOUNT_ATTR_IDMAP */
const IDMAP = 0x100000n;
/** UID_GID_MAP_MAX_EXTENTS: what a map can have. */
const MOST_EXTENTS = 340;
/** Enough for maps of some forty extents; doubled for as long as the kernel says EOVERFLOW. */
const FIRST_BYTES = 2048;
const MOST_BYTES = 1 << 20;
/** LSMT_ROOT: every mount of the namespace. */
const ALL = 0xffff_ffff_ffff_ffffn;
const PAGE = 512;

/** Instead of a map, before Linux 6.15. */
export const NOT_ON_THIS_KERNEL = "map unknown on this kernel (Linux 6.15 and later tell it)";

/** What the kernel tells of one mount. */
export interface StatMount {
	/** Never given to another mount. */
	uniqueId: bigint;
	/** As in mountinfo. */
	id: number;
	idmapped: boolean;
	/** The map as text, one extent a line; undefined where it is not told, or there is none. */
	uidMap: string | undefined;
	gidMap: string | undefined;
}

/** The parts of every answer of statmount(2): its structure, the fields that are set, the strings after it. */
export interface Answer {
	view: DataView;
	mask: bigint;
	texts: Uint8Array;
}

/** Throws `ERR_USERNS_READ_MOUNTS` for anything that is not what the kernel writes. */
export function openAnswer(buffer: ArrayBuffer): Answer {
	if (buffer.byteLength < TEXTS)
		throw malformed(`it has ${buffer.byteLength} bytes instead of ${TEXTS} at least`);
	const view = new DataView(buffer);
	const size = view.getUint32(OFFSET.size, true);
	if (size < TEXTS || size > buffer.byteLength) {
		throw malformed(`its size is told as ${size}, of ${buffer.byteLength} bytes`);
	}
	const mask = view.getBigUint64(OFFSET.mask, true);
	if ((mask & MASK.basic) === 0n) throw malformed("the mount's number is missing");
	return { view, mask, texts: new Uint8Array(buffer, TEXTS, size - TEXTS) };
}

/** Throws `ERR_USERNS_READ_MOUNTS` for anything that is not what the kernel writes. */
export function parseStatmount(buffer: ArrayBuffer): StatMount {
	const { view, mask, texts } = openAnswer(buffer);
	const map = (bit: bigint, count: number, start: number) =>
		(mask & bit) === 0n
			? undefined
			: readLines(texts, view.getUint32(count, true), view.getUint32(start, true)).join("\n");
	return {
		uniqueId: view.getBigUint64(OFFSET.uniqueId, true),
		id: view.getUint32(OFFSET.oldId, true),
		idmapped: (view.getBigUint64(OFFSET.attributes, true) & IDMAP) !== 0n,
		uidMap: map(MASK.uidMap, OFFSET.uidMapCount, OFFSET.uidMap),
		gidMap: map(MASK.gidMap, OFFSET.gidMapCount, OFFSET.gidMap),
	};
}

/** So many texts, one behind the other, each ended by a NUL. */
function readLines(texts: Uint8Array, count: number, start: number): string[] {
	if (count > MOST_EXTENTS) throw malformed(`a map has ${count} extents`);
	const lines: string[] = [];
	let at = start;
	for (let i = 0; i < count; i++) {
		const text = textAt(texts, at);
		lines.push(text.toString("latin1"));
		at += text.length + 1;
	}
	return lines;
}

/** The string that starts at the offset, without its final NUL. */
export function textAt(texts: Uint8Array, start: number): Buffer {
	const end = start < texts.length ? texts.indexOf(0, start) : -1;
	if (end < 0) throw malformed("a text goes beyond its end");
	return Buffer.from(texts.subarray(start, end));
}

function malformed(what: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_READ_MOUNTS",
		`the kernel's answer about a mount cannot be read: ${what}`,
		{
			hint: "This is a mistake in this package, or a kernel that it does not know: please report it.",
			step: "reading what statmount(2) tells",
		},
	);
}

/** Asks for one mount, by its unique number. A negative errno where there is no answer; `mountNs` 0: one's own. */
export function statMount(id: bigint, mountNs: bigint): StatMount | number {
	const answer = runSync(ask(id, mountNs, WANTED));
	return typeof answer === "number" ? answer : parseStatmount(answer);
}

/** The answer of statmount(2) for one mount, or a negative errno. */
export function* ask(id: bigint, mountNs: bigint, mask: bigint): Operation<ArrayBuffer | number> {
	for (let bytes = FIRST_BYTES; ; bytes *= 2) {
		const size = bytes;
		const answer = yield (later) => native().statmount(id, mountNs, mask, size, later);
		if (answer.error >= 0) return answer.bytes ?? new ArrayBuffer(0);
		if (answer.error !== ERRNO.EOVERFLOW || bytes >= MOST_BYTES) return answer.error;
	}
}

/**
 * The unique mount IDs, after `last`, of the mounts of a mount namespace or of those below one mount; or a negative
 * errno.
 */
export function* listPage(mountNs: bigint, below: bigint, last: bigint): Operation<BigUint64Array | number> {
	const { error, bytes } = yield (later) => native().listmount(below, mountNs, last, PAGE, later);
	return error < 0 ? error : new BigUint64Array(bytes ?? new ArrayBuffer(0));
}

/** Whether another page can follow. */
export function isFull(page: BigUint64Array): boolean {
	return page.length >= PAGE;
}

/** The unique mount IDs of all mounts of a mount namespace, in pages; or a negative errno. */
export function* listMounts(mountNs: bigint): Generator<BigUint64Array | number, void> {
	for (let last = 0n; ; ) {
		const some = runSync(listPage(mountNs, ALL, last));
		yield some;
		if (typeof some === "number" || !isFull(some)) return;
		last = some.at(-1) as bigint;
	}
}

/**
 * The mapping of an ID-mapped mount, disk to visible, as the caller's user namespace sees it. A text instead, why it is
 * not known.
 */
export function mappingOf(mount: StatMount): Mapping | string {
	const { uidMap, gidMap } = mount;
	if (uidMap === undefined || gidMap === undefined) {
		return NOT_ON_THIS_KERNEL;
	}
	if (uidMap === "" || gidMap === "") {
		return "map unknown: it has IDs that this process's user namespace does not have";
	}
	try {
		return Mapping.fromProc(`${uidMap}\n`, `${gidMap}\n`);
	} catch (cause) {
		return `map unknown: ${(cause as Error).message}`;
	}
}

/** The same for the mount that a descriptor is on. `undefined`: it has no map. */
export function mappingAt(fd: number): Mapping | string | undefined {
	const facts = native().mountFacts(fd);
	if (typeof facts === "number") {
		throw kernelError("ERR_USERNS_READ_MOUNTS", "cannot tell which mount it is", {
			error: facts,
			step: "statx",
		});
	}
	const answer = facts[1] === 0n ? ERRNO.ENOSYS : statMount(facts[1], 0n);
	if (answer === ERRNO.ENOSYS) return NOT_ON_THIS_KERNEL;
	if (answer === ERRNO.ENOENT) return "map unknown: it is told of attached mounts only";
	if (typeof answer === "number") {
		throw kernelError("ERR_USERNS_READ_MOUNTS", "cannot read the map of a mount", {
			error: answer,
			step: "statmount",
		});
	}
	return answer.idmapped ? mappingOf(answer) : undefined;
}
