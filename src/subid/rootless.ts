import { accessSync, constants } from "node:fs";
import { UsernsError } from "../errors.ts";
import type { IdKind } from "../mapping/extent.ts";
import { type Delegation, setFindDelegation } from "../mapping/rootless.ts";
import { freeForUser } from "./free.ts";
import { SUBID_FILES, subordinateRanges } from "./ranges.ts";
import { type Account, findUser } from "./users.ts";

/** How the user is called in messages and in the line to add. */
export function nameOf({ name, uid }: Account): string {
	return name ?? String(uid);
}

/** True too for a file that is not there: then nobody has any. */
function isReadable(file: string): boolean {
	try {
		accessSync(file, constants.R_OK);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "ENOENT";
	}
}

/** For a user who has none of that kind. */
export function noSubids(kind: IdKind, user: Account): UsernsError {
	const name = nameOf(user);
	const file = SUBID_FILES[kind];
	if (!isReadable(file)) {
		return new UsernsError(
			"ERR_USERNS_NO_SUBIDS",
			`the subordinate ${kind}s of the user ${name} are not known: ${file} cannot be read`,
			{ hint: `Let root make ${file} readable for everybody (chmod 644 ${file}).` },
		);
	}
	return new UsernsError("ERR_USERNS_NO_SUBIDS", `the user ${name} has no subordinate ${kind}s in ${file}`, {
		hint: `Let root add a line such as "${name}:${freeForUser(kind)}:65536" to ${file}, with IDs that the file assigns to no other user (usermod --add-sub${kind}s does that).`,
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
