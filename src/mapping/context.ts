import { invalidArgument, show } from "../errors.ts";
import { copyOptions } from "../options.ts";
import type { IdKind } from "./extent.ts";
import type { Lists } from "./long-lists.ts";
import type { MappingInput } from "./mapping.ts";
import type { SubidUser } from "./syntax/subid.ts";
import type { ResolvedContext } from "./syntax/table.ts";

/** What a text may refer to. The caller passes it, because parsing reads no files. */
export interface MappingContext {
	/** `podman`: the mapping of the namespace in which podman creates that of the container. `@` precedes one of its host IDs. */
	parent?: MappingInput | undefined;
	/** `podman`: true if podman runs without root. A first entry with `+` then extends the IDs that `parent` delegates. */
	rootless?: boolean | undefined;
	/** `podman-idmap`: the mapping of the container. */
	container?: MappingInput | undefined;
	/** `subid`: the user whose lines are parsed or printed. */
	user?: SubidUser | undefined;
	/** `lxc.conf` and `quadlet`: true skips the lines of other settings, so that a whole file can be read. False by default. */
	skipOtherLines?: boolean | undefined;
	/**
	 * Returns the ID of a user name or group name, or undefined for an unknown name; {@link findId} does. Names can then stand in place
	 * of IDs in `colon`, `x-mount.idmap`, `map-users`, `mount-idmapped`, `lxc`, `lxc.conf` and `newuidmap`, in an extent that says its
	 * kind: `u:alice:0:1`.
	 */
	names?: ((name: string, kind: IdKind) => number | undefined) | undefined;
}

const WHAT = "the context of a mapping text";

/** Copies a context. The result has every key, so that none is read through a prototype. */
export function resolveContext(
	given: MappingContext | undefined,
	listsOf: (input: MappingInput) => Lists,
): ResolvedContext {
	const known = ["parent", "rootless", "container", "user", "skipOtherLines", "names"];
	const context = copyOptions<MappingContext>(WHAT, given, known);
	const { parent, rootless = false, container, user, skipOtherLines = false, names } = context;
	if (typeof skipOtherLines !== "boolean") {
		throw invalidArgument(`${WHAT}: skipOtherLines must be a boolean, not ${show(skipOtherLines)}`);
	}
	if (names !== undefined && typeof names !== "function") {
		throw invalidArgument(`${WHAT}: names must be a function, not ${show(names)}`);
	}
	return {
		parent: parent === undefined ? undefined : { ...listsOf(parent), rootless },
		container: container === undefined ? undefined : listsOf(container),
		user: user === undefined ? undefined : copyOptions<SubidUser>(`${WHAT}: user`, user, ["name", "uid"]),
		skipOtherLines,
		names,
	};
}
