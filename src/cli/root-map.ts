import { readFileSync } from "node:fs";
import { type Extents, Mapping, UsernsError } from "../index.ts";

/** The mapping for `--map auto` of root. */
export function rootMap(): Mapping {
	const own = Mapping.fromProc(
		readFileSync("/proc/self/uid_map", "utf8"),
		readFileSync("/proc/self/gid_map", "utf8"),
	);
	return own.equals("0:0:4294967295") ? subordinateMap() : identity(own);
}

/** Maps every ID of the user namespace of this process to itself. */
function identity({ uidMappings, gidMappings }: Mapping): Mapping {
	const same = (extents: Extents) =>
		extents.map(({ containerID, size }) => ({ containerID, hostID: containerID, size }));
	return Mapping.from({ uidMappings: same(uidMappings), gidMappings: same(gidMappings) });
}

/** Root's subordinate IDs from container ID 0 on, without root itself, because a program in the namespace would be root of the host. */
function subordinateMap(): Mapping {
	const { uidMappings, gidMappings } = rangesOfRoot();
	return Mapping.from({ uidMappings: withoutFirst(uidMappings), gidMappings: withoutFirst(gidMappings) });
}

/** On most machines root has no subordinate IDs, and needs none, because CAP_SETUID and CAP_SETGID allow every ID. */
function rangesOfRoot(): Mapping {
	try {
		return Mapping.rootless({ user: 0 });
	} catch (error) {
		if (!(error instanceof UsernsError) || error.code !== "ERR_USERNS_NO_SUBIDS") throw error;
		const hint = `${error.hint} Or give a mapping, such as --map 0:2100000000:65536, which needs CAP_SETUID and CAP_SETGID, and no line.`;
		throw new UsernsError(error.code, error.message, { hint });
	}
}

/** Removes container ID 0 and shifts the others by one. */
function withoutFirst(extents: Extents): Extents {
	return extents.flatMap(({ containerID, hostID, size }) => {
		if (containerID > 0) return [{ containerID: containerID - 1, hostID, size }];
		return size === 1 ? [] : [{ containerID, hostID: hostID + 1, size: size - 1 }];
	});
}
