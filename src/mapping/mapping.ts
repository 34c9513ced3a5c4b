import { invalidArgument, invalidMapping, show } from "../errors.ts";
import { parseColon, printColon } from "./colon.ts";
import {
	canonical,
	checkExtent,
	type Extents,
	type IdKind,
	type IdMap,
	NO_EXTENTS,
	sameExtents,
} from "./extent.ts";
import { checkLimits, parseProcText, procText } from "./proc.ts";

/** The text forms that {@link Mapping.parse} reads and {@link Mapping.toString} writes. */
export type MappingSyntax = "colon";

/** The shape of the OCI runtime-spec; any other keys are ignored, so that a config's `linux` object fits as it is. */
export interface OciMappings {
	uidMappings?: readonly Readonly<IdMap>[] | null | undefined;
	gidMappings?: readonly Readonly<IdMap>[] | null | undefined;
}

/** What every function that takes a mapping takes: a Mapping, the OCI form, or the `colon` text form. */
export type MappingInput = Mapping | OciMappings | string;

/**
 * What a user namespace maps: user IDs and group IDs. Immutable, valid by the kernel's own rules, and canonical
 * (extents sorted by `containerID`, those that continue each other merged), so that two mappings which mean the same
 * are the same, whatever the order or split of the input.
 * @see user_namespaces(7)
 */
export class Mapping {
	/** Canonical and frozen. `containerID` is the ID inside (for a mount: on disk), `hostID` the ID outside (visible). */
	readonly uidMappings: Extents;
	/** Canonical and frozen, as `uidMappings`. */
	readonly gidMappings: Extents;
	#id: string | undefined;

	private constructor(uid: Extents, gid: Extents) {
		this.uidMappings = uid;
		this.gidMappings = gid;
	}

	/**
	 * Checks and canonicalises. Throws `ERR_USERNS_INVALID_MAPPING` for whatever the kernel would refuse or, worse,
	 * quietly change: no extents at all, size 0, an ID that is negative, fractional or past 4294967294, an overlap in
	 * either column, more than 340 extents, or a text over 4095 bytes.
	 */
	static from(input: MappingInput): Mapping {
		if (input instanceof Mapping) return input;
		if (typeof input === "string") return Mapping.parse(input);
		if (typeof input !== "object" || input === null || Array.isArray(input)) {
			throw invalidMapping(
				`a mapping must be a Mapping, an object {uidMappings, gidMappings} or a text, not ${show(input)}`,
				'For example "0:100000:65536".',
			);
		}
		return Mapping.#checked({
			uid: checkList("uid", input.uidMappings),
			gid: checkList("gid", input.gidMappings),
		});
	}

	/** Reads a text form; without a syntax, `colon`: `[u:|g:|b:]containerID:hostID:size[,…]`. */
	static parse(text: string, syntax: MappingSyntax = "colon"): Mapping {
		checkSyntax(syntax);
		if (typeof text !== "string") throw invalidArgument(`a mapping text must be a string, not ${show(text)}`);
		return Mapping.#checked(parseColon(text));
	}

	/**
	 * The mapping that two files /proc/PID/uid_map and gid_map show. A namespace whose maps were not written yet
	 * shows empty files and gives an empty mapping, which no namespace can be asked for with.
	 */
	static fromProc(uidMap: string, gidMap: string): Mapping {
		return new Mapping(parseProcText("uid", uidMap), parseProcText("gid", gidMap));
	}

	static #checked(maps: { uid: readonly IdMap[]; gid: readonly IdMap[] }): Mapping {
		const uid = canonical("uid", maps.uid);
		const gid = canonical("gid", maps.gid);
		if (uid.length === 0 && gid.length === 0) {
			throw invalidMapping(
				"the mapping maps nothing: neither uidMappings nor gidMappings has an extent",
				"Give at least one extent, such as 0:100000:65536.",
			);
		}
		checkLimits("uid", uid);
		checkLimits("gid", gid);
		return new Mapping(uid, gid);
	}

	/** Equal for equal mappings, whatever the order or the split of their input. It is the canonical `colon` text. */
	get id(): string {
		this.#id ??= printColon(this.uidMappings, this.gidMappings);
		return this.#id;
	}

	/** True when both map the same IDs to the same IDs. */
	equals(other: MappingInput): boolean {
		const mapping = Mapping.from(other);
		return (
			sameExtents(this.uidMappings, mapping.uidMappings) && sameExtents(this.gidMappings, mapping.gidMappings)
		);
	}

	/** The text form; `colon` unless another syntax is named. Parsing it gives an equal mapping. */
	toString(syntax: MappingSyntax = "colon"): string {
		checkSyntax(syntax);
		return this.id;
	}

	/** The OCI form, with fresh arrays that the caller may change. */
	toJSON(): { uidMappings: IdMap[]; gidMappings: IdMap[] } {
		return { uidMappings: copy(this.uidMappings), gidMappings: copy(this.gidMappings) };
	}

	/** The text for /proc/PID/uid_map or gid_map. */
	procText(kind: IdKind): string {
		return procText(kind === "uid" ? this.uidMappings : this.gidMappings);
	}
}

function copy(extents: Extents): IdMap[] {
	return extents.map(({ containerID, hostID, size }) => ({ containerID, hostID, size }));
}

function checkList(kind: IdKind, list: unknown): readonly IdMap[] {
	if (list === undefined || list === null) return NO_EXTENTS; // Go writes an empty list as null or not at all
	if (!Array.isArray(list)) {
		throw invalidMapping(
			`${kind}Mappings must be an array of extents, not ${show(list)}`,
			"Write it as [{containerID: 0, hostID: 100000, size: 65536}].",
		);
	}
	// Array.from visits holes too, which map() would pass over unchecked.
	return Array.from(list, (extent, index) => checkExtent(extent, `${kind}Mappings[${index}]`));
}

function checkSyntax(syntax: unknown): asserts syntax is MappingSyntax {
	if (syntax !== "colon") {
		throw invalidArgument(`there is no mapping syntax ${show(syntax)}`, "The syntaxes are: colon.");
	}
}
