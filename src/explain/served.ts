import type { Access } from "./rules.ts";
import { type Situation, STICKY, unknown, type Verdict } from "./situation.ts";

/*
 * File systems of a server, which checks an operation again: with the IDs that it gives the caller (root_squash of exports(5)), and by
 * rules that this kernel does not know. What this kernel refuses is refused.
 */

/** The kernel asks the server of NFS what the caller may do with a file (the operation ACCESS). */
const NFS = /^nfs4?$/;
/** The other servers are asked by the operation itself. */
const UNASKED = /^(9p|cifs|smb3|virtiofs|fuse|fuseblk|fuse\..*)$/;
const FUSE = /^fuse/;

export function isNfs({ mount: { fsType } }: Situation): boolean {
	return NFS.test(fsType);
}

function isServed(s: Situation): boolean {
	return isNfs(s) || UNASKED.test(s.mount.fsType);
}

/** The operations whose answer is the server's. */
function isUndecided(s: Situation, operation: keyof Access, { allowed, errno }: Verdict): boolean {
	// NFS leaves the kernel's check of chown(2) out; FUSE without the option default_permissions that of a sticky directory too.
	if (errno === "EPERM" && (operation === "chown" || operation === "delete")) {
		return FUSE.test(s.mount.fsType) || (isNfs(s) && operation === "chown");
	}
	if (allowed !== true) return false;
	const inSticky = operation === "delete" && (s.answer.directory.mode & STICKY) !== 0;
	return UNASKED.test(s.mount.fsType) || operation === "chown" || inSticky;
}

/** Whether a path is on the mount. */
function isOn({ mount: { mountPoint } }: Situation, path: string): boolean {
	return path === mountPoint || path.startsWith(mountPoint === "/" ? "/" : `${mountPoint}/`);
}

function serverName({ mount: { fsType, mountPoint } }: Situation): string {
	return `the server of the ${fsType} at ${mountPoint}`;
}

/** Why a path cannot be looked up: the server can refuse it too, and so can FUSE (fuse_allow_current_process() in fs/fuse/dir.c). */
export function searchReason(s: Situation, part: string): string | undefined {
	if (!isServed(s) || !isOn(s, part)) return undefined;
	const { fsType, mountPoint } = s.mount;
	if (!FUSE.test(fsType)) return `${serverName(s)}, or a directory on the way to it, does not permit it`;
	return `the ${fsType} at ${mountPoint} was mounted without allow_other, or a directory on the way to it may not be searched`;
}

/** The verdicts of this kernel, without those that are the server's to give. */
export function withServer(s: Situation, access: Access): Access {
	if (!isServed(s)) return access;
	const here = (operation: keyof Access): Verdict => {
		const verdict = access[operation];
		if (isUndecided(s, operation, verdict)) {
			const kernel = verdict.allowed === true ? ", and this kernel does not refuse it" : "";
			return unknown(`${serverName(s)} decides${kernel}`);
		}
		const refused = verdict.errno === "EACCES" || verdict.errno === "EPERM";
		// Root of this machine may be any user for the server, and can only remount.
		return refused && !verdict.fix?.startsWith("mount ") ? { ...verdict, fix: undefined } : verdict;
	};
	return {
		read: here("read"),
		write: here("write"),
		execute: here("execute"),
		create: here("create"),
		delete: here("delete"),
		chown: here("chown"),
	};
}
