import type { IdKind, Mapping } from "../../src/index.ts";

// The results of operations on an ID-mapped mount, computed from the mapping alone: pure functions that do not ask the
// kernel. "On disk" is the mapping's containerID, "visible" its hostID. Files belong to a file system of the initial
// user namespace, and so do callers. If two rules refuse, the one that the kernel checks first gives the errno.

/** A user and a group. */
export interface Ids {
	uid: number;
	gid: number;
}

/** The result of an operation: the name of an errno, or "OK". */
export type Verdict =
	| "OK"
	| "EACCES"
	| "EINVAL"
	| "EOVERFLOW"
	| "EPERM"
	| "EROFS"
	| "EXDEV"
	| "EOPNOTSUPP"
	| "ENODATA"
	| "ENOENT";

/** The caller: fsuid, fsgid and supplementary groups, with every capability or none. */
export interface Actor extends Ids {
	groups?: readonly number[];
	capable?: boolean;
}

/** The ID that stat(2) shows for an unmapped one: fs.overflowuid and fs.overflowgid, with the kernel's defaults. */
export const NOBODY = 65534;
/** The ID that a POSIX ACL shows for an unmapped one: (uid_t) −1. */
export const NO_ID = 4294967295;

export function toVisible(mapping: Mapping, kind: IdKind, disk: number): number | undefined {
	return kind === "uid" ? mapping.uidToHost(disk) : mapping.gidToHost(disk);
}

export function toDisk(mapping: Mapping, kind: IdKind, visible: number): number | undefined {
	return kind === "uid" ? mapping.uidToContainer(visible) : mapping.gidToContainer(visible);
}

/** Whether both IDs of a file on disk are mapped. If one is not, the kernel refuses most changes (HAS_UNMAPPED_ID). */
export function isMapped(mapping: Mapping, disk: Ids): boolean {
	return (
		toVisible(mapping, "uid", disk.uid) !== undefined && toVisible(mapping, "gid", disk.gid) !== undefined
	);
}

/** The owner that stat(2) shows through the mount. */
export function shown(mapping: Mapping, disk: Ids): Ids {
	return {
		uid: toVisible(mapping, "uid", disk.uid) ?? NOBODY,
		gid: toVisible(mapping, "gid", disk.gid) ?? NOBODY,
	};
}

/** The IDs on disk of files that this caller creates; undefined if one of them is missing (fsuidgid_has_mapping). */
export function ownerOnDisk(mapping: Mapping, { uid, gid }: Ids): Ids | undefined {
	const disk = { uid: toDisk(mapping, "uid", uid), gid: toDisk(mapping, "gid", gid) };
	return disk.uid === undefined || disk.gid === undefined ? undefined : { uid: disk.uid, gid: disk.gid };
}

export interface Directory {
	/** The owner of a new file on disk. */
	disk: Ids;
	setgid?: boolean;
}

/** Whether a caller may create a name in a directory that every user may write to. */
export function naming(mapping: Mapping, actor: Actor, directory: Directory): Verdict {
	if (ownerOnDisk(mapping, actor) === undefined) return "EOVERFLOW";
	return isMapped(mapping, directory.disk) ? "OK" : "EACCES";
}

/**
 * create, mkdir, mknod, symlink, O_TMPFILE: the owner on disk, or the errno. A setgid directory gives its own group.
 */
export function creation(mapping: Mapping, actor: Actor, directory: Directory): Verdict | Ids {
	const verdict = naming(mapping, actor, directory);
	const owner = ownerOnDisk(mapping, actor);
	if (verdict !== "OK" || owner === undefined) return verdict;
	return { uid: owner.uid, gid: directory.setgid ? directory.disk.gid : owner.gid };
}

/** Whether the caller is in the group that is on disk. The visible ID counts. */
export function isMember(mapping: Mapping, actor: Actor, diskGid: number): boolean {
	const visible = toVisible(mapping, "gid", diskGid);
	return visible !== undefined && [actor.gid, ...(actor.groups ?? [])].includes(visible);
}

/** Whether the caller is the owner on disk. The visible ID counts. */
export function isOwner(mapping: Mapping, actor: Actor, diskUid: number): boolean {
	return toVisible(mapping, "uid", diskUid) === actor.uid;
}

/** A capability counts only for files with two mapped IDs (capable_wrt_inode_uidgid). */
export function isCapable(mapping: Mapping, actor: Actor, disk: Ids): boolean {
	return actor.capable === true && isMapped(mapping, disk);
}

/** Whether S_ISGID stays on a group-executable file that is created in a setgid directory, or changed by chmod(2). */
export function keepsSetgid(mapping: Mapping, actor: Actor, disk: Ids): boolean {
	return isMember(mapping, actor, disk.gid) || isCapable(mapping, actor, disk);
}

/** chmod(2), and utimensat(2) with given times: for the owner, or with a capability. */
export function inodeChange(mapping: Mapping, actor: Actor, disk: Ids): Verdict {
	if (!isMapped(mapping, disk)) return "EOVERFLOW";
	return isOwner(mapping, actor, disk.uid) || actor.capable ? "OK" : "EPERM";
}

/** chown(2) to visible IDs; an ID that is left out stays. Returns the owner on disk afterwards, or the errno. */
export function ownerChange(mapping: Mapping, actor: Actor, disk: Ids, to: Partial<Ids>): Verdict | Ids {
	const uid = to.uid === undefined ? disk.uid : toDisk(mapping, "uid", to.uid);
	const gid = to.gid === undefined ? disk.gid : toDisk(mapping, "gid", to.gid);
	if (uid === undefined || gid === undefined) return "EOVERFLOW";
	// Writing the inode back would write an invalid ID, unless this call itself makes the ID valid.
	const mappedUid = toVisible(mapping, "uid", disk.uid) !== undefined;
	const mappedGid = toVisible(mapping, "gid", disk.gid) !== undefined;
	if (to.uid === undefined && !mappedUid) return "EOVERFLOW";
	if (to.gid === undefined && !mappedGid) return "EOVERFLOW";
	const owner = isOwner(mapping, actor, disk.uid);
	// A capability over the file system may change an unmapped ID. A mapped ID needs a capability over the file, which
	// does not exist while the other ID is unmapped (chown_ok and chgrp_ok in fs/attr.c).
	const capable = (mapped: boolean) => (mapped ? isCapable(mapping, actor, disk) : actor.capable === true);
	if (to.uid !== undefined && !(owner && uid === disk.uid) && !capable(mappedUid)) return "EPERM";
	const joins = gid === disk.gid || isMember(mapping, actor, gid);
	if (to.gid !== undefined && !(owner && joins) && !capable(mappedGid)) return "EPERM";
	return { uid, gid };
}

/** unlink(2) in a directory that every user may write to, and the first half of rename(2). */
export function removal(mapping: Mapping, actor: Actor, disk: Ids, sticky?: Ids): Verdict {
	if (!isMapped(mapping, disk)) return "EOVERFLOW";
	if (sticky === undefined) return "OK";
	if (!isMapped(mapping, sticky)) return "EACCES";
	const owner = isOwner(mapping, actor, disk.uid) || isOwner(mapping, actor, sticky.uid);
	return owner || isCapable(mapping, actor, disk) ? "OK" : "EPERM";
}

/**
 * rename(2) to a new name, or over a file (its owner on disk). Over a file it creates no name, so the caller's IDs do
 * not count.
 */
export function renaming(mapping: Mapping, actor: Actor, disk: Ids, over?: Ids): Verdict {
	const removed = removal(mapping, actor, disk);
	if (removed !== "OK") return removed;
	return over === undefined ? naming(mapping, actor, { disk }) : removal(mapping, actor, over);
}

/** link(2) of a regular file, by its owner or a capable caller. */
export function linking(mapping: Mapping, actor: Actor, disk: Ids): Verdict {
	if (!isMapped(mapping, disk)) return "EOVERFLOW";
	return naming(mapping, actor, { disk });
}

/** open(2) of a file with that mode: the rights of the three classes. Writing needs two mapped IDs. */
export function opening(
	mapping: Mapping,
	actor: Actor,
	disk: Ids,
	mode: number,
	how: "read" | "write",
): Verdict {
	if (how === "write" && !isMapped(mapping, disk)) return "EACCES";
	if (isCapable(mapping, actor, disk)) return "OK";
	const shift = isOwner(mapping, actor, disk.uid) ? 6 : isMember(mapping, actor, disk.gid) ? 3 : 0;
	return (mode >> shift) & (how === "read" ? 4 : 2) ? "OK" : "EACCES";
}

/** A POSIX ACL entry for a visible ID: the ID on disk, or the errno. */
export function aclEntryOnDisk(mapping: Mapping, kind: IdKind, visible: number): number | "EINVAL" {
	return toDisk(mapping, kind, visible) ?? "EINVAL";
}

/** The ID that a POSIX ACL entry shows through the mount. */
export function aclEntryShown(mapping: Mapping, kind: IdKind, disk: number): number {
	return toVisible(mapping, kind, disk) ?? NO_ID;
}

/** setxattr(2) on a file of that owner, by a caller with permission. */
export function attributeChange(mapping: Mapping, disk: Ids): Verdict {
	return isMapped(mapping, disk) ? "OK" : "EPERM";
}

/** File capabilities with the root of a namespace (v3), or without one (v2, which means 0): the root on disk. */
export function rootidOnDisk(mapping: Mapping, visible: number | undefined): number | "EINVAL" {
	return toDisk(mapping, "uid", visible ?? 0) ?? "EINVAL";
}

/** The root that reading file capabilities shows, 0 for v2, or the errno. `disk` is 0 for v2 as well. */
export function rootidShown(mapping: Mapping, disk: number): number | "EOVERFLOW" {
	return toVisible(mapping, "uid", disk) ?? "EOVERFLOW";
}

/**
 * Whether file capabilities take effect: their visible root must be uid 0 of the caller's namespace (`root` is its ID
 * outside) or of one above it, and above it is the initial namespace.
 */
export function capabilitiesCount(mapping: Mapping, diskRoot: number, root = 0): boolean {
	const visible = toVisible(mapping, "uid", diskRoot);
	return visible !== undefined && (visible === root || visible === 0);
}

/** The IDs of a program with both set-ID bits: the kernel ignores the bits if one of the file's IDs is unmapped. */
export function execution(mapping: Mapping, actor: Actor, disk: Ids): { euid: number; egid: number } {
	if (!isMapped(mapping, disk)) return { euid: actor.uid, egid: actor.gid };
	const { uid, gid } = shown(mapping, disk);
	return { euid: uid, egid: gid };
}
