import { UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Handles } from "../namespace/handles.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";

/**
 * The user namespaces that carry the maps of one call: the one that was asked for, and those of the composed maps that
 * nested mounts need. All are the call's own, and closed at its end: a mount keeps what it needs.
 */
export class MapNamespaces {
	readonly #made = new Map<string, UserNamespace>();
	readonly #handles: Handles | undefined;

	constructor(handles: Handles | undefined) {
		this.#handles = handles;
	}

	/** The descriptor of a namespace with that mapping. */
	async fd(mapping: Mapping): Promise<number> {
		let made = this.#made.get(mapping.id);
		if (made === undefined) {
			refuseOneKind(mapping);
			made = await (this.#handles?.get(mapping) ?? UserNamespace.create(mapping));
			this.#made.set(mapping.id, made);
		}
		return made.fd;
	}

	/** What was asked for: a mapping, or a namespace, of which a duplicate is taken. */
	async adopt(asked: { mapping: Mapping | undefined; userns: UserNamespace | undefined }): Promise<Mapping> {
		const { userns } = asked;
		if (userns === undefined) {
			const mapping = asked.mapping as Mapping;
			await this.fd(mapping);
			return mapping;
		}
		const copy = userns.dup(); // the caller may close his while this is under way
		try {
			const mapping = await copy.mapping();
			refuseOneKind(mapping);
			this.#made.set(mapping.id, copy);
			return mapping;
		} catch (error) {
			copy.close();
			throw error;
		}
	}

	close(): void {
		for (const namespace of this.#made.values()) namespace.close();
		this.#made.clear();
	}
}

/** The kernel says EINVAL only, and before Linux 5.17 or so took it, showing every ID of the other kind as nobody's. */
function refuseOneKind({ uidMappings, gidMappings }: Mapping): void {
	if (uidMappings.length > 0 && gidMappings.length > 0) return;
	const [has, lacks] = uidMappings.length > 0 ? ["uids", "gids"] : ["gids", "uids"];
	const what = uidMappings.length + gidMappings.length === 0 ? "maps nothing" : `maps ${has} but no ${lacks}`;
	throw new UsernsError(
		"ERR_USERNS_INVALID_MAPPING",
		`an ID-mapped mount needs both kinds, but the mapping ${what}`,
		{
			hint: "Give uidMappings and gidMappings, or extents without a u: or g: before them.",
		},
	);
}
