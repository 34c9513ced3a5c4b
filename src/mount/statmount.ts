import { UsernsError } from "../errors.ts";
import { Mapping } from "../mapping/mapping.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Operation, runSync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import type { MountEntry } from "./mount-entry.ts";

/*
 * statmount(2) and listmount(2). The answer of statmount(2) is `struct statmount` of <linux/mount.h>, 512 bytes, and strings at
 * offsets from its end. Each bound is checked. The numbers are little-endian, as on every processor that this package supports.
 */

const STRUCT_BYTES = 512;
const OFFSET = {
	size: 0,
	mask: 8,
	major: 16,
	minor: 20,
	fsType: 36,
	uniqueId: 40,
	oldId: 56,
	oldParent: 60,
	attributes: 64,
	propagation: 72,
	root: 104,
	mountPoint: 108,
	subtype: 120,
	source: 124,
	supported: 144,
	uidMapCount: 152,
	uidMap: 156,
	gidMapCount: 160,
	gidMap: 164,
} as const;

/** STATMOUNT_…. The maps are reported since Linux 6.15. */
const MASK = {
	superBlock: 0x01n,
	basic: 0x02n,
	root: 0x08n,
	point: 0x10n,
	fsType: 0x20n,
	subtype: 0x100n,
	source: 0x200n,
	supported: 0x1000n,
	uidMap: 0x2000n,
	gidMap: 0x4000n,
} as const;
/** The fields of StatMount. */
const FOR_MAPS = MASK.basic | MASK.uidMap | MASK.gidMap;
/** The fields that every complete answer for a MountEntry has. */
const NEEDED = MASK.superBlock | MASK.basic | MASK.root | MASK.point | MASK.fsType;
/**
 * The fields of MountEntry. `subtype` and `source` are set only for a mount that has them, and `supported` (Linux 6.15) shows
 * whether the kernel knows them.
 */
export const FOR_ENTRY: bigint = NEEDED | MASK.subtype | MASK.source | MASK.supported;
/** The mount IDs alone. */
export const BASIC: bigint = MASK.basic;

/** MS_UNBINDABLE, MS_SHARED. */
const UNBINDABLE = 1n << 17n;
const SHARED = 1n << 20n;
/** MOUNT_ATTR_IDMAP */
const IDMAP = 0x100000n;
/** MOUNT_ATTR__ATIME */
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
	[IDMAP, IDMAP, "idmapped"],
];

/** The most extents of a map: UID_GID_MAP_MAX_EXTENTS. */
const MOST_EXTENTS = 340;
/** The first buffer, enough for maps of about 40 extents. It is doubled while the kernel returns EOVERFLOW. */
const FIRST_BYTES = 2048;
const MOST_BYTES = 1 << 20;
/** LSMT_ROOT: every mount of the namespace. */
const ALL = 0xffff_ffff_ffff_ffffn;
/** The most mount IDs of one call of listmount(2). */
const PAGE = 512;

/** Why the map of a mount is not known before Linux 6.15. */
export const NOT_ON_THIS_KERNEL = "map unknown on this kernel (Linux 6.15 and later report it)";

/** The map of one mount. */
export interface StatMount {
	/** The unique mount ID, which is not reused. */
	uniqueId: bigint;
	/** As in mountinfo. */
	id: number;
	idmapped: boolean;
	/** One extent a line; undefined if the mount has no map or the kernel does not report it. */
	uidMap: string | undefined;
	gidMap: string | undefined;
}

/** An answer of statmount(2): the structure, the mask of the fields that are set, and the strings. */
interface StatmountAnswer {
	view: DataView;
	mask: bigint;
	texts: Uint8Array;
}

function openAnswer(buffer: ArrayBuffer): StatmountAnswer {
	if (buffer.byteLength < STRUCT_BYTES) {
		throw malformed(`it has ${buffer.byteLength} bytes instead of at least ${STRUCT_BYTES}`);
	}
	const view = new DataView(buffer);
	const size = view.getUint32(OFFSET.size, true);
	if (size < STRUCT_BYTES || size > buffer.byteLength) {
		throw malformed(`its size is ${size}, in a buffer of ${buffer.byteLength} bytes`);
	}
	const mask = view.getBigUint64(OFFSET.mask, true);
	if ((mask & MASK.basic) === 0n) throw malformed("the mount ID is missing");
	return { view, mask, texts: new Uint8Array(buffer, STRUCT_BYTES, size - STRUCT_BYTES) };
}

/** Parses an answer with FOR_MAPS. Throws `ERR_USERNS_READ_MOUNTS` for a malformed one. */
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

/** Parses an answer with FOR_ENTRY. Undefined if it lacks a field of mountinfo. */
export function parseEntry(buffer: ArrayBuffer): MountEntry | undefined {
	const { view, mask, texts } = openAnswer(buffer);
	const supported = (mask & MASK.supported) === 0n ? 0n : view.getBigUint64(OFFSET.supported, true);
	if ((mask & NEEDED) !== NEEDED || (supported & FOR_ENTRY) !== FOR_ENTRY) return undefined;
	const number = (offset: number) => view.getUint32(offset, true);
	const text = (offset: number) => textAt(texts, number(offset)).toString();
	const mountPoint = text(OFFSET.mountPoint);
	if (mountPoint === "") return undefined; // the root directory does not lead to it
	const attributes = view.getBigUint64(OFFSET.attributes, true);
	const subtype = (mask & MASK.subtype) === 0n ? "" : `.${text(OFFSET.subtype)}`;
	const propagation = view.getBigUint64(OFFSET.propagation, true);
	return {
		id: number(OFFSET.oldId),
		parent: number(OFFSET.oldParent),
		device: `${number(OFFSET.major)}:${number(OFFSET.minor)}`,
		root: text(OFFSET.root),
		mountPoint,
		options: optionsOf(attributes),
		fsType: `${text(OFFSET.fsType)}${subtype}`,
		source: (mask & MASK.source) === 0n ? "" : text(OFFSET.source),
		unbindable: (propagation & UNBINDABLE) !== 0n,
		shared: (propagation & SHARED) !== 0n,
	};
}

function optionsOf(attributes: bigint): string[] {
	const words = OPTIONS.filter(([mask, value]) => (attributes & mask) === value).map(([, , word]) => word);
	return [(attributes & 1n) === 0n ? "rw" : "ro", ...words];
}

/** Reads `count` consecutive strings, each with a NUL at its end. */
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

/** The string at an offset, without the NUL at its end. */
function textAt(texts: Uint8Array, start: number): Buffer {
	const end = start < texts.length ? texts.indexOf(0, start) : -1;
	if (end < 0) throw malformed("a string exceeds it");
	return Buffer.from(texts.subarray(start, end));
}

function malformed(why: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_READ_MOUNTS",
		`cannot read the attributes of a mount: the kernel's answer is malformed: ${why}`,
		{
			hint: "Report this with the version of the kernel: this package cannot parse the answer.",
			step: "parsing the answer of statmount(2)",
		},
	);
}

/** The map of a mount, by its unique mount ID, or a negative errno. `mountNs` 0 is the mount namespace of this process. */
export function statMount(id: bigint, mountNs: bigint, fd = -1): StatMount | number {
	const answer = runSync(callStatmount(id, mountNs, FOR_MAPS, fd));
	return typeof answer === "number" ? answer : parseStatmount(answer);
}

/** Calls statmount(2) for one mount: that of `fd` or, if that is −1, of the ID. Returns its answer or a negative errno. */
export function* callStatmount(
	id: bigint,
	mountNs: bigint,
	mask: bigint,
	fd = -1,
): Operation<ArrayBuffer | number> {
	for (let bytes = FIRST_BYTES; ; bytes *= 2) {
		const size = bytes;
		const answer = yield (later) => native().statmount(fd, id, mountNs, mask, size, later);
		if (answer.error >= 0) return answer.bytes ?? new ArrayBuffer(0);
		if (answer.error !== ERRNO.EOVERFLOW || bytes >= MOST_BYTES) return answer.error;
	}
}

/**
 * Calls listmount(2). Returns the unique mount IDs, after `last`, of the mounts below one mount (`ALL`: of the namespace), or a
 * negative errno.
 */
export function* listPage(mountNs: bigint, below: bigint, last: bigint): Operation<BigUint64Array | number> {
	const { error, bytes } = yield (later) => native().listmount(below, mountNs, last, PAGE, later);
	return error < 0 ? error : new BigUint64Array(bytes ?? new ArrayBuffer(0));
}

/** Whether another page can follow this one. */
export function isFull(page: BigUint64Array): boolean {
	return page.length >= PAGE;
}

/** The unique mount IDs of all mounts of a mount namespace, in pages; or a negative errno. */
export function* listMounts(mountNs: bigint): Generator<BigUint64Array | number, void> {
	for (let last = 0n; ; ) {
		const page = runSync(listPage(mountNs, ALL, last));
		yield page;
		if (typeof page === "number" || !isFull(page)) return;
		last = page.at(-1) as bigint;
	}
}

/**
 * The map of an ID-mapped mount, disk to visible, in the IDs of the caller's user namespace. A text if it is not known, with the
 * reason.
 */
export function mappingOf(mount: StatMount): Mapping | string {
	const { uidMap, gidMap } = mount;
	if (uidMap === undefined || gidMap === undefined) return NOT_ON_THIS_KERNEL;
	if (uidMap === "" || gidMap === "") {
		return "map unknown: it has IDs that the user namespace of this process does not map";
	}
	try {
		return Mapping.fromProc(`${uidMap}\n`, `${gidMap}\n`);
	} catch (cause) {
		return `map unknown: ${(cause as Error).message}`;
	}
}

const NOT_ATTACHED =
	"map unknown: without root and Linux 7.0, the kernel reports the maps of attached mounts only";

/**
 * The attributes of a detached mount, which is in no mount namespace: statmount(2) describes a copy of it in a new one (Linux
 * 7.0). ENOENT if the kernel is older or the caller is not privileged.
 */
function statDetached(fd: number): StatMount | number {
	const around = native().namespaceAround(fd);
	if (around.error < 0) return ERRNO.ENOENT;
	try {
		const namespace = native().mountNamespaceId(around.fd);
		if (typeof namespace === "number") return ERRNO.ENOENT;
		let last: StatMount | number = ERRNO.ENOENT;
		// The first mount is the empty root of the namespace, and the copy is on it.
		for (const ids of listMounts(namespace)) {
			for (const id of typeof ids === "number" ? [] : ids) last = statMount(id, namespace);
		}
		return last;
	} finally {
		native().close(around.fd);
	}
}

/**
 * The map of a descriptor's mount in the mount namespace with that ID (undefined: not known). Undefined for a mount without a map; a text
 * if the map is not known.
 */
export function mappingAt(fd: number, mountNs: bigint | undefined): Mapping | string | undefined {
	const ids = native().mountIds(fd);
	if (typeof ids === "number") {
		throw kernelError("ERR_USERNS_READ_MOUNTS", "cannot read the map of a mount", {
			error: ids,
			step: "statx",
		});
	}
	let answer = ids[1] === 0n || mountNs === undefined ? ERRNO.ENOSYS : statMount(ids[1], mountNs);
	if (answer === ERRNO.ENOSYS) return NOT_ON_THIS_KERNEL;
	if (answer === ERRNO.ENOENT) {
		const byFd = statMount(0n, 0n, fd);
		answer = typeof byFd === "number" ? statDetached(fd) : byFd;
	}
	if (answer === ERRNO.ENOENT) return NOT_ATTACHED;
	if (typeof answer === "number") {
		throw kernelError("ERR_USERNS_READ_MOUNTS", "cannot read the map of a mount", {
			error: answer,
			step: "statmount",
		});
	}
	return answer.idmapped ? mappingOf(answer) : undefined;
}
