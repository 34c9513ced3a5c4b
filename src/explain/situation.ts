import { describeErrno } from "../errors.ts";
import type { IdKind } from "../mapping/extent.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { MountEntry } from "../mount/mount-entry.ts";
import type { Answer } from "../namespace/ask.ts";
import { across, type OwnerChain } from "./chain.ts";

/** Whether an operation is allowed. */
export interface Verdict {
	/** Null if it cannot be known. */
	allowed: boolean | null;
	/** The reason: what allows it, or the first check that refuses it. */
	reason: string;
	/** The error of the system call, such as `"EACCES"`. */
	errno: string | undefined;
	/**
	 * A command for root of the host, or a choice of IDs, that would allow it. No command if the path is one of another root directory or
	 * mount namespace, because on the host it can be another file.
	 */
	fix: string | undefined;
}

export function no(errno: number, reason: string, fix?: string): Verdict {
	const name = describeErrno(errno).split(" ", 1)[0] as string;
	return { allowed: false, reason, errno: name, fix };
}

export function yes(reason: string): Verdict {
	return { allowed: true, reason, errno: undefined, fix: undefined };
}

export function unknown(reason: string): Verdict {
	return { allowed: null, reason, errno: undefined, fix: undefined };
}

/** STATX_ATTR_… of <linux/stat.h>, and types of files. */
export const IMMUTABLE = 0x10;
export const APPEND = 0x20;
export const TYPE = 0o170000;
export const DIRECTORY = 0o040000;
export const STICKY = 0o1000;
/** <linux/capability.h> */
export const CAP = { CHOWN: 0n, DAC_OVERRIDE: 1n, FOWNER: 3n, FSETID: 4n } as const;

/** A process's IDs, and the same as IDs of the caller's user namespace. */
export interface Subject {
	uid: number;
	gid: number;
	groups: readonly number[];
	host: { uid: number; gid: number; groups: readonly number[] };
	capabilities: bigint;
	/** The user namespace; undefined: the caller's. */
	namespace: Mapping | undefined;
	/** Whether that is the initial user namespace, whose capabilities count in all others. */
	initial: boolean;
	/** What `chown` is answered for. Undefined: the ID is not changed. */
	chownTo: { uid: number | undefined; gid: number | undefined };
}

export interface Situation {
	path: string;
	/** The path leads the caller elsewhere: the process has another root directory or mount namespace. */
	elsewhere: boolean;
	answer: Answer;
	uid: OwnerChain;
	gid: OwnerChain;
	subject: Subject;
	mount: {
		mountPoint: string;
		options: readonly string[];
		/** The options of the file system; empty if they are not known. */
		superOptions: readonly string[];
		/** For an overlay: the mount of a layer whose server decides. */
		layer: Pick<MountEntry, "mountPoint" | "fsType"> | undefined;
		fsType: string;
		mapping: Mapping | string | undefined;
	};
	/** The user namespace of the file system may be that of the subject. */
	foreign: boolean;
	/** Why the path cannot be deleted, whatever its owners are: for example, because it is a mount point. */
	fixed: string | undefined;
}

/** Whether an ID of the caller's user namespace has an ID on disk. */
export function hasDiskId({ mount }: Situation, kind: IdKind, id: number): boolean {
	return typeof mount.mapping !== "object" || across(mount.mapping, kind, id, "container") !== undefined;
}

/** The class of the mode that applies to the process, and the position of its bits. */
export function classOf({ subject, uid, gid }: Situation): { name: string; shift: number } {
	const { host } = subject;
	if (uid.visible !== undefined && uid.visible === host.uid) return { name: "its owner", shift: 6 };
	const member = gid.visible !== undefined && [host.gid, ...host.groups].includes(gid.visible);
	return member ? { name: "its group", shift: 3 } : { name: "other users", shift: 0 };
}

/** capable_wrt_inode_uidgid(): a capability counts only if the namespace maps the owner and the group. `kind`: only that one. */
export function isCapable({ uid, gid, subject }: Situation, capability: bigint, kind?: IdKind): boolean {
	const ok = { uid: uid.inside !== undefined, gid: gid.inside !== undefined };
	return has(subject, capability) && (kind === undefined ? ok.uid && ok.gid : ok[kind]);
}

export function has({ capabilities }: Subject, capability: bigint): boolean {
	return ((capabilities >> capability) & 1n) === 1n;
}

/** Whether the mount does not map an owner; undefined if that is not known. */
export function isUnmapped({ uid, gid, mount }: Situation, only?: IdKind): boolean | undefined {
	const chains = only === undefined ? [uid, gid] : [only === "uid" ? uid : gid];
	if (chains.some(({ lost }) => lost?.at === "mount")) return true;
	if (mount.mapping === undefined) return false;
	return chains.every(({ visible }) => visible !== undefined) ? false : undefined;
}

/** Why an owner has no ID, without the numbers. Empty if both have one. */
export function lostReason({ uid, gid }: Situation): string {
	const kind = uid.lost === undefined ? "gid" : "uid";
	const lost = uid.lost ?? gid.lost;
	if (lost === undefined) return "";
	return `${lost.at === "mount" ? "the mount" : "the user namespace"} does not map its ${kind}`;
}

/** Why it is not known whether the mount maps an owner. */
export function hiddenReason({ mount }: Situation): string {
	return typeof mount.mapping === "string"
		? mount.mapping
		: "it cannot be known whether the mount maps the owner";
}

export function mountName({ mount }: Situation): string {
	return `the mount at ${mount.mountPoint}`;
}
