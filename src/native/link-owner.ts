import { readFileSync } from "node:fs";

/** No user's uid: of a look-up that follows the symbolic links of root alone. */
export const NO_OWNER = 0xffffffff;

/** The uid that stat(2) shows for a user without an ID. See user_namespaces(7), "Unmapped user and group IDs". */
export function overflowUid(): number {
	try {
		return Number(readFileSync("/proc/sys/kernel/overflowuid", "utf8"));
	} catch {
		return 65534;
	}
}

/**
 * The uid beside root whose symbolic links are followed. The overflow uid is none: it stands for every user that has no ID in this
 * user namespace or through an ID-mapped mount.
 */
export function linkOwner(): number {
	const uid = process.geteuid?.() ?? NO_OWNER;
	return uid === overflowUid() ? NO_OWNER : uid;
}
