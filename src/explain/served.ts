import type { MountEntry } from "../mount/mount-entry.ts";
import type { Access } from "./rules.ts";
import { type Situation, STICKY, unknown, type Verdict } from "./situation.ts";

/*
 * File systems of a server, which checks an operation again: with the IDs that it gives the caller (root_squash of exports(5)), and by
 * rules that this kernel does not know. What this kernel refuses is refused.
 */

/** f_type, from <linux/magic.h> and the sources of the file systems. */
const NFS = 0x6969;
const FUSE = 0x65735546;
const CIFS: readonly number[] = [0xff534d42, 0xfe534d42];
/** Of these, only the operation itself asks the server: 9p, Ceph, AFS (two), Coda, OrangeFS, Lustre, vboxsf, hostfs. */
const OTHERS: readonly number[] = [
	...[0x01021997, 0x00c36400, 0x5346414f, 0x6b414653, 0x73757245, 0x20030528, 0x0bd00bd0, 0x786f4256],
	0x00c0ffee,
];

const OVERLAY = 0x794c7630;
/** The same file systems by their types in mountinfo, of which only the part before a dot counts. */
const TYPES = /^(nfs4?|fuse|fuseblk|virtiofs|cifs|smb3|9p|ceph|afs|coda|pvfs2|lustre|vboxsf|hostfs)(\.|$)/;

/** Whether the answer depends on the options of the file system, or on the mounts of the layers. */
export function needsTable(fileSystem: number): boolean {
	return fileSystem === FUSE || fileSystem === OVERLAY;
}

/** The mount of a layer of an overlay whose server decides. A layer with a relative path, or of another mount namespace, is not found. */
export function servedLayer(
	superOptions: readonly string[],
	mounts: readonly MountEntry[],
): MountEntry | undefined {
	const layers = superOptions.flatMap((option) => {
		const [, paths] = /^(?:lowerdir|upperdir|datadir)\+?=(\/.*)$/s.exec(option) ?? [];
		return paths === undefined ? [] : paths.split(/(?<!\\)::?/).map((path) => path.replaceAll("\\:", ":"));
	});
	const found = layers.map((path) =>
		mounts.reduce<MountEntry | undefined>((best, each) => {
			const isBetter = best === undefined || each.mountPoint.length >= best.mountPoint.length;
			return isBelow(each.mountPoint, path) && isBetter ? each : best;
		}, undefined),
	);
	return found.find((mount) => mount !== undefined && TYPES.test(mount.fsType));
}

const isFuse = ({ answer }: Situation) => answer.fileSystem === FUSE;

/** The kernel asks the server of NFS what the caller may do with a file (the operation ACCESS). */
export function isNfs({ answer }: Situation): boolean {
	return answer.fileSystem === NFS;
}

/**
 * FUSE checks the mode of a file only with this option, which virtiofs always has. Otherwise access(2) asks the server, and open(2) does
 * not.
 */
function checksMode({ mount: { fsType, superOptions } }: Situation): boolean {
	return fsType === "virtiofs" || superOptions.includes("default_permissions");
}

function isServed(s: Situation): boolean {
	const { fileSystem } = s.answer;
	return (
		s.mount.layer !== undefined ||
		isNfs(s) ||
		isFuse(s) ||
		CIFS.includes(fileSystem) ||
		OTHERS.includes(fileSystem)
	);
}

/** The operations whose answer is the server's. */
function isUndecided(s: Situation, operation: keyof Access, { allowed, errno }: Verdict): boolean {
	if (allowed === true) {
		const inSticky = operation === "delete" && (s.answer.directory.mode & STICKY) !== 0;
		return !isNfs(s) || operation === "chown" || inSticky;
	}
	if (errno === "EPERM" && operation === "chown") {
		// NFS, and CIFS with the option noperm, do not make the kernel's check.
		return isNfs(s) || isFuse(s) || CIFS.includes(s.answer.fileSystem);
	}
	// A path that cannot be looked up is refused in any case.
	if (!isFuse(s) || s.answer.search < 0) return false;
	if (errno === "EPERM" && operation === "delete") return true;
	return (errno === "EPERM" || errno === "EACCES") && operation !== "create" && !checksMode(s);
}

function isBelow(directory: string, path: string): boolean {
	return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

function serverName({ mount }: Situation): string {
	const { fsType, mountPoint } = mount.layer ?? mount;
	return `the server of the ${fsType} file system at ${mountPoint}`;
}

/** Why a path cannot be looked up: the server can refuse it too, and so can FUSE (fuse_allow_current_process() in fs/fuse/dir.c). */
export function searchReason(s: Situation, part: string): string | undefined {
	if (!isServed(s) || !isBelow(s.mount.mountPoint, part)) return undefined;
	const who = [serverName(s)];
	if (isFuse(s) && !s.mount.superOptions.includes("allow_other")) {
		who.push(`the ${s.mount.fsType} file system, which was mounted without allow_other`);
	}
	return `${who.join(", ")}, or a directory on the way to it, does not permit it`;
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
