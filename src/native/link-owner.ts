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

const LINK: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
	"link fuse": "a symbolic link lies on a FUSE file system, whose server states any owner",
	"link idmapped": "a symbolic link lies on an ID-mapped mount, where its owner is not the one on disk",
});

const LINK_HINT =
	"Name the path that the link leads to, once you know that it is meant; a link on the path may belong to root or to the caller's effective uid.";

/** Words for a symbolic link that a look-up did not follow (native/mount/path-walk.h); undefined for every other step. */
export function linkRefused(step: string, name: string): { words: string; hint: string } | undefined {
	const words = LINK[step];
	if (words !== undefined) return { words, hint: LINK_HINT };
	if (step !== "link owner") return undefined;
	const [, uid, link = ""] = /^(\d+) (.*)$/s.exec(name) ?? [];
	const unmapped =
		Number(uid) === overflowUid()
			? ` Uid ${uid} stands for every user without an ID here, the host's root included.`
			: "";
	return {
		words: `the symbolic link ${JSON.stringify(link)} belongs to another user, uid ${uid}`,
		hint: LINK_HINT + unmapped,
	};
}
