import { UsernsError } from "../errors.ts";
import { MAX_ID } from "../mapping/extent.ts";
import { Mapping } from "../mapping/mapping.ts";
import type { Handles } from "../namespace/handles.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";

/**
 * The user namespaces of one call: one with the requested mapping, and one for each composed map of a nested mount. The call
 * closes them at its end, because the kernel keeps the maps of a mount.
 */
export class MapNamespaces {
	readonly #namespaces = new Map<string, UserNamespace>();
	readonly #handles: Handles | undefined;

	constructor(handles: Handles | undefined) {
		this.#handles = handles;
	}

	/** The descriptor of a namespace with the mapping, created at the first call. */
	async fd(mapping: Mapping): Promise<number> {
		let namespace = this.#namespaces.get(mapping.id);
		if (namespace === undefined) {
			refuseOneKind(mapping);
			namespace = await (this.#handles?.get(mapping) ?? UserNamespace.create(mapping));
			this.#namespaces.set(mapping.id, namespace);
		}
		return namespace.fd;
	}

	/** Adds the requested namespace, as a mapping or as a namespace that is duplicated, and returns its mapping. */
	async adopt(requested: {
		mapping: Mapping | undefined;
		userns: UserNamespace | "container" | undefined;
	}): Promise<Mapping> {
		const { userns } = requested;
		if (!(userns instanceof UserNamespace)) {
			const mapping = requested.mapping as Mapping;
			await this.fd(mapping);
			return mapping;
		}
		const copy = userns.dup(); // the caller can close its own during the call
		try {
			const mapping = await copy.mapping();
			refuseOneKind(mapping);
			this.#namespaces.set(mapping.id, copy);
			return mapping;
		} catch (error) {
			copy.close();
			throw error;
		}
	}

	close(): void {
		for (const namespace of this.#namespaces.values()) namespace.close();
		this.#namespaces.clear();
	}
}

/** The kernel returns EINVAL, and before about Linux 5.17 mounted it with the overflow ID for every ID of the other kind. */
function refuseOneKind({ uidMappings, gidMappings }: Mapping): void {
	if (uidMappings.length > 0 && gidMappings.length > 0) return;
	const [has, lacks] = uidMappings.length > 0 ? ["uids", "gids"] : ["gids", "uids"];
	const isEmpty = uidMappings.length + gidMappings.length === 0;
	const what = isEmpty ? "maps nothing" : `maps ${has} but no ${lacks}`;
	const hint = isEmpty
		? "Give extents for both kinds, such as 0:2100000000:65536."
		: `Add ${lacks.charAt(0)}:0:0:${MAX_ID + 1} to leave the ${lacks} as they are on disk.`;
	throw new UsernsError(
		"ERR_USERNS_INVALID_MAPPING",
		`cannot create an ID-mapped mount: it needs uids and gids, but the mapping ${what}`,
		{ hint },
	);
}

/** A mapping of the own IDs of the caller. Every process that may mount can create a user namespace with it. */
export function oneOwn(): Mapping {
	const uid = process.geteuid?.() ?? 0;
	const gid = process.getegid?.() ?? 0;
	const one = (id: number) => [{ containerID: id, hostID: id, size: 1 }];
	return Mapping.from({ uidMappings: one(uid), gidMappings: one(gid) });
}
