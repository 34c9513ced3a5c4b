import { readFileSync } from "node:fs";

/** A uid that no user has, for a look-up that follows only the symbolic links of root. */
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
 * The uid, besides root, whose symbolic links are followed. Never the overflow uid, because it stands for every user
 * without an ID in this user namespace or on an ID-mapped mount.
 */
export function linkOwner(): number {
	const uid = process.geteuid?.() ?? NO_OWNER;
	return uid === overflowUid() ? NO_OWNER : uid;
}
