import type { IdKind, Mapping } from "../../src/index.ts";

// What an ID-mapped mount must show and do, from the mapping alone: pure functions, and nothing here asks the kernel.
// "On disk" is the mapping's containerID, "visible" its hostID. Files belong to a file system of the initial user
// namespace, and so do callers. Where two rules refuse, the one that the kernel asks first is answered.

/** A user and a group. */
export interface Ids {
	uid: number;
	gid: number;
}

/** What an operation must answer: the name of an errno, or "OK". */
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

/** Who does it: fsuid, fsgid and other groups, with every capability or none. */
export interface Actor extends Ids {
	groups?: readonly number[];
	capable?: boolean;
}

/** What stat(2) shows for an ID that is not mapped: fs.overflowuid and fs.overflowgid, as every kernel starts. */
export const NOBODY = 65534;
/** What a POSIX ACL shows for an ID that is not mapped: (uid_t) −1. */
export const NO_ID = 4294967295;

export function toVisible(mapping: Mapping, kind: IdKind, disk: number): number | undefined {
	return kind === "uid" ? mapping.uidToHost(disk) : mapping.gidToHost(disk);
}

export function toDisk(mapping: Mapping, kind: IdKind, visible: number): number | undefined {
	return kind === "uid" ? mapping.uidToContainer(visible) : mapping.gidToContainer(visible);
}

/** Both IDs of a file on disk are mapped. When one is not, the file can hardly be changed (HAS_UNMAPPED_ID). */
export function isMapped(mapping: Mapping, disk: Ids): boolean {
	return (
		toVisible(mapping, "uid", disk.uid) !== undefined && toVisible(mapping, "gid", disk.gid) !== undefined
	);
}

/** What stat(2) shows through the mount. */
export function shown(mapping: Mapping, disk: Ids): Ids {
	return {
		uid: toVisible(mapping, "uid", disk.uid) ?? NOBODY,
		gid: toVisible(mapping, "gid", disk.gid) ?? NOBODY,
	};
}

/** The IDs on disk of what this caller makes; undefined when one of his has none (fsuidgid_has_mapping). */
export function ownerOnDisk(mapping: Mapping, { uid, gid }: Ids): Ids | undefined {
	const disk = { uid: toDisk(mapping, "uid", uid), gid: toDisk(mapping, "gid", gid) };
	return disk.uid === undefined || disk.gid === undefined ? undefined : { uid: disk.uid, gid: disk.gid };
}

export interface Directory {
	/** Its owner on disk. */
	disk: Ids;
	setgid?: boolean;
}

/** Whether a caller may make a name in a directory that anybody may write to. */
export function naming(mapping: Mapping, actor: Actor, directory: Directory): Verdict {
	if (ownerOnDisk(mapping, actor) === undefined) return "EOVERFLOW";
	return isMapped(mapping, directory.disk) ? "OK" : "EACCES";
}

/** create, mkdir, mknod, symlink, O_TMPFILE: the owner on disk, or why not. A setgid directory gives its own group. */
export function creation(mapping: Mapping, actor: Actor, directory: Directory): Verdict | Ids {
	const verdict = naming(mapping, actor, directory);
	const owner = ownerOnDisk(mapping, actor);
	if (verdict !== "OK" || owner === undefined) return verdict;
	return { uid: owner.uid, gid: directory.setgid ? directory.disk.gid : owner.gid };
}

/** Whether the caller is in the group that is on disk: it is the visible ID that counts. */
export function isMember(mapping: Mapping, actor: Actor, diskGid: number): boolean {
	const visible = toVisible(mapping, "gid", diskGid);
	return visible !== undefined && [actor.gid, ...(actor.groups ?? [])].includes(visible);
}

/** Whether the caller is the owner on disk, as he is seen. */
export function isOwner(mapping: Mapping, actor: Actor, diskUid: number): boolean {
	return toVisible(mapping, "uid", diskUid) === actor.uid;
}

/** A capability counts for files with both IDs mapped only (capable_wrt_inode_uidgid). */
export function isCapable(mapping: Mapping, actor: Actor, disk: Ids): boolean {
	return actor.capable === true && isMapped(mapping, disk);
}

/** Whether S_ISGID stays on a group-executable file that is made in, or by chmod(2) given to, a file of that group. */
export function keepsSetgid(mapping: Mapping, actor: Actor, disk: Ids): boolean {
	return isMember(mapping, actor, disk.gid) || isCapable(mapping, actor, disk);
}

/** chmod(2), and utimensat(2) to given times: for the owner, or with a capability. */
export function inodeChange(mapping: Mapping, actor: Actor, disk: Ids): Verdict {
	if (!isMapped(mapping, disk)) return "EOVERFLOW";
	return isOwner(mapping, actor, disk.uid) || actor.capable ? "OK" : "EPERM";
}

/** chown(2) to visible IDs; one that is left out stays as it is. The owner on disk after it, or why not. */
export function ownerChange(mapping: Mapping, actor: Actor, disk: Ids, to: Partial<Ids>): Verdict | Ids {
	const uid = to.uid === undefined ? disk.uid : toDisk(mapping, "uid", to.uid);
	const gid = to.gid === undefined ? disk.gid : toDisk(mapping, "gid", to.gid);
	if (uid === undefined || gid === undefined) return "EOVERFLOW";
	// Writing the inode back would write an ID that is not known: unless it is made valid by this very call.
	const mappedUid = toVisible(mapping, "uid", disk.uid) !== undefined;
	const mappedGid = toVisible(mapping, "gid", disk.gid) !== undefined;
	if (to.uid === undefined && !mappedUid) return "EOVERFLOW";
	if (to.gid === undefined && !mappedGid) return "EOVERFLOW";
	const owner = isOwner(mapping, actor, disk.uid);
	// An ID that is not mapped is given away by a capability over the file system; one that is mapped needs one over
	// the file, which nobody has while the other ID is not mapped (chown_ok and chgrp_ok in fs/attr.c).
	const capable = (mapped: boolean) => (mapped ? isCapable(mapping, actor, disk) : actor.capable === true);
	if (to.uid !== undefined && !(owner && uid === disk.uid) && !capable(mappedUid)) return "EPERM";
	const joins = gid === disk.gid || isMember(mapping, actor, gid);
	if (to.gid !== undefined && !(owner && joins) && !capable(mappedGid)) return "EPERM";
	return { uid, gid };
}

/** unlink(2) in a directory that anybody may write to, and the first half of rename(2). */
export function removal(mapping: Mapping, actor: Actor, disk: Ids, sticky?: Ids): Verdict {
	if (!isMapped(mapping, disk)) return "EOVERFLOW";
	if (sticky === undefined) return "OK";
	if (!isMapped(mapping, sticky)) return "EACCES";
	const owner = isOwner(mapping, actor, disk.uid) || isOwner(mapping, actor, sticky.uid);
	return owner || isCapable(mapping, actor, disk) ? "OK" : "EPERM";
}

/** rename(2) to a new name, or over a file (its owner on disk): then no name is made, and the caller's IDs don't matter. */
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

/** open(2) of a file with that mode: what the three classes may. Writing is for files with both IDs mapped. */
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

/** A POSIX ACL entry for a visible ID: the ID on disk, or why not. */
export function aclEntryOnDisk(mapping: Mapping, kind: IdKind, visible: number): number | "EINVAL" {
	return toDisk(mapping, kind, visible) ?? "EINVAL";
}

/** What a POSIX ACL entry shows through the mount. */
export function aclEntryShown(mapping: Mapping, kind: IdKind, disk: number): number {
	return toVisible(mapping, kind, disk) ?? NO_ID;
}

/** setxattr(2) on a file of that owner, as one who would be allowed to. */
export function attributeChange(mapping: Mapping, disk: Ids): Verdict {
	return isMapped(mapping, disk) ? "OK" : "EPERM";
}

/** File capabilities with the root of a namespace in them (v3), or none (v2, which stands for 0): the root on disk. */
export function rootidOnDisk(mapping: Mapping, visible: number | undefined): number | "EINVAL" {
	return toDisk(mapping, "uid", visible ?? 0) ?? "EINVAL";
}

/** What reading file capabilities shows: their root, 0 for v2; or why not. `disk` is 0 for v2 as well. */
export function rootidShown(mapping: Mapping, disk: number): number | "EOVERFLOW" {
	return toVisible(mapping, "uid", disk) ?? "EOVERFLOW";
}

/**
 * Whether file capabilities take effect: their root, as seen, must be uid 0 of the caller's namespace (`root` is what
 * that one is outside) or of one above it, and above it is the initial namespace.
 */
export function capabilitiesCount(mapping: Mapping, diskRoot: number, root = 0): boolean {
	const visible = toVisible(mapping, "uid", diskRoot);
	return visible !== undefined && (visible === root || visible === 0);
}

/** Who a program with both set-ID bits runs as: they are ignored when one of the file's IDs is not mapped. */
export function execution(mapping: Mapping, actor: Actor, disk: Ids): { euid: number; egid: number } {
	if (!isMapped(mapping, disk)) return { euid: actor.uid, egid: actor.gid };
	const { uid, gid } = shown(mapping, disk);
	return { euid: uid, egid: gid };
}
