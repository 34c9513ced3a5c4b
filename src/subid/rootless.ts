import { accessSync, constants } from "node:fs";
import { UsernsError } from "../errors.ts";
import type { IdKind } from "../mapping/extent.ts";
import { type Delegation, setFindDelegation } from "../mapping/rootless.ts";
import { freeForUser } from "./free.ts";
import { SUBID_FILES, subordinateRanges } from "./ranges.ts";
import { type Account, findUser } from "./users.ts";

/** The name of the user for messages and for the line to add, or the uid if there is no name. */
export function nameOf({ name, uid }: Account): string {
	return name ?? String(uid);
}

/** Returns true also if the file does not exist, because then no user has a range. */
function isReadable(file: string): boolean {
	try {
		accessSync(file, constants.R_OK);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "ENOENT";
	}
}

/** The error for a user without subordinate IDs of a kind, or of both kinds. */
export function noSubids(kinds: readonly IdKind[], user: Account): UsernsError {
	const name = nameOf(user);
	const files = kinds.map((kind) => SUBID_FILES[kind]);
	const hidden = files.filter((file) => !isReadable(file));
	if (hidden.length > 0) {
		const which = kinds.map((kind) => `${kind}s`).join(" and ");
		return new UsernsError(
			"ERR_USERNS_NO_SUBIDS",
			`cannot find the subordinate ${which} of the user ${name}: ${hidden.join(" and ")} cannot be read`,
			{ hint: `As root, make ${hidden.join(" and ")} readable: chmod 644 ${hidden.join(" ")}.` },
		);
	}
	const missing = kinds.map((kind) => `subordinate ${kind}s in ${SUBID_FILES[kind]}`).join(" and no ");
	const lines = kinds
		.map((kind) => `"${name}:${freeForUser(kind)}:65536" to ${SUBID_FILES[kind]}`)
		.join(" and ");
	const flags = kinds.map((kind) => `--add-sub${kind}s`).join(" and ");
	return new UsernsError("ERR_USERNS_NO_SUBIDS", `the user ${name} has no ${missing}`, {
		hint: `As root, add a line such as ${lines}, with IDs that the file assigns to no other user; see usermod(8), ${flags}.`,
	});
}

setFindDelegation((who) => {
	const user = findUser(who);
	const ranges = { uid: subordinateRanges("uid", user), gid: subordinateRanges("gid", user) };
	const missing = (["uid", "gid"] as const).filter((kind) => ranges[kind].length === 0);
	if (missing.length > 0) throw noSubids(missing, user);
	const delegation = (kind: IdKind): Delegation => ({ own: user[kind], ranges: ranges[kind] });
	return { uid: delegation("uid"), gid: delegation("gid") };
});
