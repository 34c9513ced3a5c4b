import type { IdKind } from "../mapping/extent.ts";
import { ERRNO } from "../native/errno.ts";
import { across } from "./chain.ts";
import { chownWords, type Fixes } from "./fixes.ts";
import {
	APPEND,
	CAP,
	DIRECTORY,
	has,
	hasDiskId,
	hiddenReason,
	IMMUTABLE,
	isCapable,
	isUnmapped,
	lostReason,
	mountName,
	no,
	type Situation,
	TYPE,
	unknown,
	type Verdict,
	yes,
} from "./situation.ts";

const [SET_UID, SET_GID, GROUP_EXECUTE] = [0o4000, 0o2000, 0o010];
const KINDS = ["uid", "gid"] as const;

/** chown_common() in fs/open.c, notify_change() and setattr_prepare() in fs/attr.c, in their order. A read-only mount is checked before. */
export function chownVerdict(s: Situation, fixes: Fixes): Verdict {
	const { answer, subject, mount, uid, gid } = s;
	const { chownTo, host } = subject;
	const { mode, attributes } = answer.file;
	const text = chownWords(chownTo);
	const target = { uid: outside(s, "uid"), gid: outside(s, "gid") };
	const outsider = KINDS.find((kind) => chownTo[kind] !== undefined && target[kind] === undefined);
	if (outsider !== undefined) {
		const reason = `${text}: the user namespace does not map the ${outsider} ${chownTo[outsider]}`;
		return no(ERRNO.EINVAL, reason, fixes.choices(outsider, "namespace"));
	}
	if ((attributes & IMMUTABLE) !== 0) return no(ERRNO.EPERM, `${text}: it is immutable`, fixes.flag("i"));
	if ((attributes & APPEND) !== 0) return no(ERRNO.EPERM, `${text}: it is append-only`, fixes.flag("a"));
	if (typeof mount.mapping === "string") return unknown(mount.mapping);
	const hidden = KINDS.find((kind) => target[kind] !== undefined && !hasDiskId(s, kind, target[kind]));
	if (hidden !== undefined) {
		const reason = `${text}: the map of ${mountName(s)} has no ${hidden} ${target[hidden]} visible`;
		return no(ERRNO.EOVERFLOW, reason, fixes.choices(hidden, "mount"));
	}
	const lost = { uid: isUnmapped(s, "uid"), gid: isUnmapped(s, "gid") };
	if (lost.uid === undefined || lost.gid === undefined) return unknown(hiddenReason(s));
	const kept = KINDS.find((kind) => lost[kind] && target[kind] === undefined);
	if (kept !== undefined) return no(ERRNO.EOVERFLOW, `${text}: ${lostReason(s)}`, `change the ${kept} too`);
	const owner = uid.visible !== undefined && uid.visible === host.uid;
	const groups = [host.gid, ...host.groups];
	const capable = isCapable(s, CAP.CHOWN);
	// chown_ok(): CAP_CHOWN over the file system gives a file without a mapped owner a mapped one.
	const repairs = subject.initial && has(subject, CAP.CHOWN);
	const permitted = {
		uid:
			target.uid === undefined || (owner && target.uid === uid.visible) || capable || (lost.uid && repairs),
		gid:
			target.gid === undefined ||
			(owner && (target.gid === gid.visible || groups.includes(target.gid))) ||
			capable ||
			(lost.gid && repairs),
	};
	const refused = KINDS.find((kind) => !permitted[kind]);
	if (refused !== undefined) {
		if (s.foreign && lost[refused]) {
			return unknown(
				`${text}: it depends on the user namespace of the file system, which the kernel does not report`,
			);
		}
		return no(ERRNO.EPERM, `${text}: ${noCapability(s, "CHOWN")}`, fixes.chown(target));
	}
	// A change of the owner clears set-user-ID and set-group-ID, which is a change of the mode.
	const clears = (mode & TYPE) !== DIRECTORY && clearsBits(s, mode, groups);
	if (clears && !owner && !isCapable(s, CAP.FOWNER, "uid")) {
		return no(
			ERRNO.EPERM,
			`${text}: ${noCapability(s, "FOWNER")}, and chown would clear a bit of the mode`,
			fixes.chown(target),
		);
	}
	return yes(`${text}: ${owner && !capable ? "the process owns it" : "a capability permits it"}`);
}

/** The ID of chown as the caller's user namespace has it. */
function outside({ subject: { namespace, chownTo } }: Situation, kind: IdKind): number | undefined {
	const id = chownTo[kind];
	return id === undefined || namespace === undefined ? id : across(namespace, kind, id, "host");
}

/** setattr_should_drop_suidgid() in fs/attr.c. */
function clearsBits(s: Situation, mode: number, groups: readonly number[]): boolean {
	if ((mode & SET_UID) !== 0) return true;
	if ((mode & SET_GID) === 0) return false;
	if ((mode & GROUP_EXECUTE) !== 0) return true;
	const { visible } = s.gid;
	return !(visible !== undefined && groups.includes(visible)) && !isCapable(s, CAP.FSETID);
}

function noCapability(s: Situation, name: "CHOWN" | "FOWNER"): string {
	if (!has(s.subject, CAP[name])) return `the process does not have CAP_${name}`;
	return `CAP_${name} has no effect, because ${lostReason(s)}`;
}
