import { readFileSync } from "node:fs";
import { type Extents, Mapping } from "../index.ts";

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
	const { uidMappings, gidMappings } = Mapping.rootless({ user: 0 });
	return Mapping.from({ uidMappings: withoutFirst(uidMappings), gidMappings: withoutFirst(gidMappings) });
}

/** Removes container ID 0 and shifts the others by one. */
function withoutFirst(extents: Extents): Extents {
	return extents.flatMap(({ containerID, hostID, size }) => {
		if (containerID > 0) return [{ containerID: containerID - 1, hostID, size }];
		return size === 1 ? [] : [{ containerID, hostID: hostID + 1, size: size - 1 }];
	});
}
