import { copyOptions } from "../options.ts";
import type { Lists } from "./long-lists.ts";
import type { MappingInput } from "./mapping.ts";
import type { SubidUser } from "./syntax/subid.ts";
import type { ResolvedContext } from "./syntax/table.ts";

/** What a text can refer to beside itself. Everything is given, nothing is looked up: parsing is pure. */
export interface MappingContext {
	/** `podman`: the mapping of the namespace that the container's is made in; `@` counts in its host IDs. */
	parent?: MappingInput | undefined;
	/** `podman`: podman runs without root, so a first `+` extends what `parent` delegates. */
	rootless?: boolean | undefined;
	/** `podman-idmap`: the container's own mapping. */
	container?: MappingInput | undefined;
	/** `subid`: whose lines count; when printing, whose they are. */
	user?: SubidUser | undefined;
}

const WHAT = "the context of a mapping text";

/** Has every key, so that none is read through a prototype. */
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
