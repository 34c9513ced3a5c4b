import { copyOptions } from "../options.ts";
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
}

const WHAT = "the context of a mapping text";

/** Copies a context. The result has every key, so that none is read through a prototype. */
export function resolveContext(
	given: MappingContext | undefined,
	listsOf: (input: MappingInput) => Lists,
): ResolvedContext {
	const known = ["parent", "rootless", "container", "user"];
	const { parent, rootless = false, container, user } = copyOptions<MappingContext>(WHAT, given, known);
	return {
		parent: parent === undefined ? undefined : { ...listsOf(parent), rootless },
		container: container === undefined ? undefined : listsOf(container),
		user: user === undefined ? undefined : copyOptions<SubidUser>(`${WHAT}: user`, user, ["name", "uid"]),
	};
}
