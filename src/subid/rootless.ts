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

/** The error for a user without subordinate IDs of a kind. */
export function noSubids(kind: IdKind, user: Account): UsernsError {
	const name = nameOf(user);
	const file = SUBID_FILES[kind];
	if (!isReadable(file)) {
		return new UsernsError(
			"ERR_USERNS_NO_SUBIDS",
			`cannot find the subordinate ${kind}s of the user ${name}: ${file} cannot be read`,
			{ hint: `As root, make ${file} readable: chmod 644 ${file}.` },
		);
	}
	return new UsernsError("ERR_USERNS_NO_SUBIDS", `the user ${name} has no subordinate ${kind}s in ${file}`, {
		hint: `As root, add a line such as "${name}:${freeForUser(kind)}:65536" to ${file}, with IDs that the file assigns to no other user; see usermod(8), --add-sub${kind}s.`,
	});
}

function delegation(kind: IdKind, user: Account): Delegation {
	const ranges = subordinateRanges(kind, user);
	if (ranges.length === 0) throw noSubids(kind, user);
	return { own: user[kind], ranges };
}

setFindDelegation((who) => {
	const user = findUser(who);
	return { uid: delegation("uid", user), gid: delegation("gid", user) };
});
