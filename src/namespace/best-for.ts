import { UsernsError } from "../errors.ts";
import { Mapping } from "../mapping/mapping.ts";
import { setFindBest } from "../mapping/rootless.ts";
import { findUser } from "../subid/users.ts";
import { createDescriptorSync } from "./create.ts";
import { checkCreate } from "./create-options.ts";

const WHAT = "Mapping.bestFor";

/** Throws if the caller cannot create a user namespace with the mapping. */
function tryMapping(mapping: Mapping): void {
	createDescriptorSync(checkCreate(WHAT, mapping, undefined), WHAT).close();
}

/** The IDs of another user help only root. */
function ownIds(user: string | number | undefined): Mapping {
	const caller = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
	const { uid, gid } = user !== undefined && caller.uid === 0 ? findUser(user) : caller;
	const root = (hostID: number) => [{ containerID: 0, hostID, size: 1 }];
	return Mapping.from({ uidMappings: root(uid), gidMappings: root(gid) });
}

setFindBest((user) => {
	try {
		const mapping = Mapping.rootless({ user });
		tryMapping(mapping);
		return { mapping, reason: undefined };
	} catch (error) {
		if (!(error instanceof UsernsError) || error.code === "ERR_USERNS_INVALID_ARGUMENT") throw error;
		if (user !== undefined && error.code === "ERR_USERNS_UNKNOWN_USER") throw error;
		const mapping = ownIds(user);
		tryMapping(mapping);
		return { mapping, reason: error };
	}
});
