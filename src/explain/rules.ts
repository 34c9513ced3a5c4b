import { describeErrno } from "../errors.ts";
import { ERRNO } from "../native/errno.ts";
import { chownVerdict } from "./chown.ts";
import { CHOICE, Fixes } from "./fixes.ts";
import { isNfs, searchReason, withServer } from "./served.ts";
import {
	APPEND,
	CAP,
	classOf,
	DIRECTORY,
	hasDiskId,
	hiddenReason,
	IMMUTABLE,
	isCapable,
	isUnmapped,
	lostReason,
	mountName,
	no,
	type Situation,
	STICKY,
	TYPE,
	unknown,
	type Verdict,
	yes,
} from "./situation.ts";

/*
 * What IDs may do with a file, in the kernel's order of checks. The kernel has answered what it can (native/programs/userns-enter/ask.c).
 * The other rules are those of may_open() and may_delete() in fs/namei.c, and in chown.ts.
 */

/** What a process with the IDs may do with the file. */
export interface Access {
	read: Verdict;
	write: Verdict;
	/** Executing the file or searching the directory. */
	execute: Verdict;
	/** Creating a file in the directory. */
	create: Verdict;
	/** Deleting the file or the empty directory. */
	delete: Verdict;
	chown: Verdict;
}

const [REGULAR, BLOCK, CHARACTER] = [0o100000, 0o060000, 0o020000];
const SET_ID = 0o6000;
const [READ, WRITE, EXECUTE] = [4, 2, 1];
const EISDIR = -21;
const NOT_ASKED = "the kernel has no faccessat2(2), which needs Linux 5.8, or a seccomp filter refuses it";

/** File systems in which only the kernel makes files: their directories have no operation for it, and open(2) fails with EACCES. */
const NO_CREATION = /^(proc|sysfs|cgroup2?|devpts|securityfs|debugfs|tracefs|pstore|selinuxfs|nsfs)$/;

export function accessOf(s: Situation): Access {
	const access = withServer(s, verdicts(s));
	if (!s.elsewhere) return access;
	const here = (verdict: Verdict): Verdict =>
		verdict.fix?.startsWith(CHOICE) ? verdict : { ...verdict, fix: undefined };
	const { read, write, execute, create, delete: remove, chown } = access;
	return {
		read: here(read),
		write: here(write),
		execute: here(execute),
		create: here(create),
		delete: here(remove),
		chown: here(chown),
	};
}

function verdicts(s: Situation): Access {
	const { answer, path } = s;
	const fixes = new Fixes(s);
	if (answer.search < 0) {
		const part = path.slice(0, answer.searched);
		const hidden = searchReason(s, part);
		const reason = `${JSON.stringify(part)} cannot be looked up: ${hidden ?? "a directory on the way to it may not be searched"}`;
		const refused = no(answer.search, reason, hidden === undefined ? fixes.search(part) : undefined);
		return {
			read: refused,
			write: refused,
			execute: refused,
			create: refused,
			delete: refused,
			chown: refused,
		};
	}
	return {
		read: openVerdict(s, fixes, "read", READ),
		write: openVerdict(s, fixes, "write", WRITE),
		execute: executeVerdict(s, fixes),
		create: createVerdict(s, fixes),
		delete: deleteVerdict(s, fixes),
		chown: answer.readonly ? readonly(s, fixes) : chownVerdict(s, fixes),
	};
}

function typeOf({ answer }: Situation): number {
	return answer.file.mode & TYPE;
}

function openVerdict(s: Situation, fixes: Fixes, operation: "read" | "write", bit: number): Verdict {
	const type = typeOf(s);
	if (type === DIRECTORY && bit === WRITE) return no(EISDIR, "it is a directory: see create and delete");
	if (type === BLOCK || type === CHARACTER) {
		if (s.mount.options.includes("nodev")) {
			return no(
				ERRNO.EACCES,
				`it is a device, and ${mountName(s)} has the option nodev`,
				fixes.remount("dev"),
			);
		}
		// SB_I_NODEV, which alloc_super() in fs/super.c sets.
		if (s.answer.ofAll === 0) return no(ERRNO.EACCES, "it is a device on a file system of a user namespace");
		if (s.foreign) return unknown("it is a device on a file system that a user namespace may own");
	}
	const error = s.answer[operation];
	// may_open() checks append-only after the mode and before the mount.
	const append = bit === WRITE && (s.answer.file.attributes & APPEND) !== 0;
	if (append && (error === 0 || error === ERRNO.EROFS)) {
		return no(ERRNO.EPERM, "it is append-only: it can be written only with O_APPEND", fixes.flag("a"));
	}
	return kernelVerdict(s, fixes, error, bit, operation);
}

function executeVerdict(s: Situation, fixes: Fixes): Verdict {
	const type = typeOf(s);
	if (type === DIRECTORY) return kernelVerdict(s, fixes, s.answer.execute, EXECUTE, "search");
	if (type !== REGULAR) return no(ERRNO.EACCES, "it is neither a program nor a directory");
	if (s.mount.options.includes("noexec")) {
		return no(ERRNO.EACCES, `${mountName(s)} has the option noexec`, fixes.remount("exec"));
	}
	const verdict = kernelVerdict(s, fixes, s.answer.execute, EXECUTE, "execute");
	return verdict.allowed === true ? { ...verdict, reason: verdict.reason + privilege(s) } : verdict;
}

/** The kernel ignores the bits of an owner without an ID (bprm_fill_uid() in fs/exec.c). */
function privilege({ answer, mount, uid, gid }: Situation): string {
	const bits = "; its set-user-ID and set-group-ID bits";
	if ((answer.file.mode & SET_ID) === 0) return "";
	if (mount.options.includes("nosuid")) return `${bits} are ignored: nosuid`;
	const lost = uid.inside === undefined || gid.inside === undefined;
	if (lost) return `${bits} are ignored, because an owner has no ID there`;
	return answer.ofAll === 0 ? `${bits} count only inside the user namespace of the file system` : "";
}

function createVerdict(s: Situation, fixes: Fixes): Verdict {
	const { answer, mount, subject } = s;
	const { create } = answer;
	if (typeOf(s) !== DIRECTORY) return no(ERRNO.ENOTDIR, "it is not a directory");
	if (create === ERRNO.ENOSYS || create === ERRNO.EEXIST) {
		return unknown("a seccomp filter answers instead of the kernel");
	}
	if (create === ERRNO.EPERM && (answer.file.attributes & IMMUTABLE) === 0) {
		if (NO_CREATION.test(mount.fsType))
			return no(ERRNO.EACCES, `only the kernel makes files in ${mount.fsType}`);
		// For writing to a directory, nfs_permission() in fs/nfs/dir.c asks the server only if access(2) is called.
		const refused = isNfs(s) ? [answer.write, answer.execute].find((error) => error !== 0) : undefined;
		if (refused !== undefined) return kernelVerdict(s, fixes, refused, WRITE | EXECUTE, "write and search");
		const owner = isNfs(s) ? "the IDs that the server chooses" : `${subject.uid}:${subject.gid}`;
		return yes(`it may be written and searched, and a new file belongs to ${owner}`);
	}
	if (create !== ERRNO.EOVERFLOW) return kernelVerdict(s, fixes, create, WRITE | EXECUTE, "write and search");
	const kind = (["uid", "gid"] as const).find((each) => !hasDiskId(s, each, subject.host[each]));
	if (kind === undefined) {
		return no(
			create,
			"the user namespace of the file system does not map the uid and the gid of the process",
		);
	}
	const reason = `the map of ${mountName(s)} has no ${kind} ${subject.host[kind]} visible, so a new file would have no owner on disk`;
	return no(create, reason, fixes.mount(WRITE | EXECUTE));
}

/** may_delete(), after mnt_want_write(). */
function deleteVerdict(s: Situation, fixes: Fixes): Verdict {
	const { answer, subject, uid } = s;
	const { file, directory } = answer;
	if (s.fixed !== undefined) return no(ERRNO.EBUSY, s.fixed);
	if (answer.readonly) return readonly(s, fixes);
	const unmapped = isUnmapped(s);
	if (unmapped === undefined) return unknown(hiddenReason(s));
	if (unmapped) return no(ERRNO.EOVERFLOW, lostReason(s), fixes.chown(subject.host));
	if (answer.remove === ERRNO.ENOSYS) return unknown(NOT_ASKED);
	if (answer.remove < 0) {
		if ((directory.attributes & IMMUTABLE) !== 0) {
			return no(answer.remove, "its directory is immutable", fixes.directoryFlag("i"));
		}
		const reason =
			"the process may not write to its directory, or may not search it: the mode, the ACL or the unmapped owner of the directory does not permit it";
		return no(answer.remove, reason, fixes.directory());
	}
	if ((directory.attributes & APPEND) !== 0) {
		return no(ERRNO.EPERM, "its directory is append-only", fixes.directoryFlag("a"));
	}
	const owns = uid.visible === subject.host.uid || directory.uid === subject.host.uid;
	if ((directory.mode & STICKY) !== 0 && !owns && !isCapable(s, CAP.FOWNER)) {
		const reason = "its directory is sticky, and the process owns neither the file nor the directory";
		return no(ERRNO.EPERM, reason, fixes.chown({ uid: subject.host.uid, gid: undefined }));
	}
	if ((file.attributes & IMMUTABLE) !== 0) return no(ERRNO.EPERM, "it is immutable", fixes.flag("i"));
	if ((file.attributes & APPEND) !== 0) return no(ERRNO.EPERM, "it is append-only", fixes.flag("a"));
	return yes(`its directory may be written and searched${typeOf(s) === DIRECTORY ? ", if it is empty" : ""}`);
}

/** A verdict that the kernel has given, with the reason. */
function kernelVerdict(s: Situation, fixes: Fixes, error: number, bits: number, operation: string): Verdict {
	const { mode, attributes } = s.answer.file;
	const { name, shift } = classOf(s);
	const shown = (mode & 0o7777).toString(8).padStart(4, "0");
	const grants = ((mode >> shift) & bits) === bits;
	if (error === 0) {
		if (!grants && isCapable(s, CAP.DAC_OVERRIDE))
			return yes("a capability: its owner and its group are mapped");
		return yes(`its mode ${shown} or its ACL grants it`);
	}
	if (error === ERRNO.ENOSYS) return unknown(NOT_ASKED);
	if (error === ERRNO.EROFS) return readonly(s, fixes);
	if (error === ERRNO.EPERM && (attributes & IMMUTABLE) !== 0)
		return no(error, "it is immutable", fixes.flag("i"));
	if (error !== ERRNO.EACCES) return no(error, `the kernel refuses it: ${describeErrno(error)}`);
	if ((bits & WRITE) !== 0 && isUnmapped(s)) {
		return no(error, `${lostReason(s)}; no process may write to such a file`, fixes.mount(bits));
	}
	const why = grants
		? isNfs(s)
			? "the server does not permit it (an ACL, or root_squash of exports(5))"
			: "its ACL, or a security module, does not permit it"
		: `its mode ${shown} does not let ${name} ${operation} it`;
	const lost = lostReason(s);
	return no(error, lost === "" ? why : `${why}; ${lost}`, fixes.permit(bits));
}

function readonly(s: Situation, fixes: Fixes): Verdict {
	return no(ERRNO.EROFS, `${mountName(s)}, or its file system, is read-only`, fixes.remount("rw"));
}
