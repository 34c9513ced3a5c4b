import { illegalConstructor, invalidArgument, show } from "../errors.ts";
import * as algebra from "./algebra.ts";
import { type MappingContext, resolveContext } from "./context.ts";
import { checkExtent, type Extents, freeze, type IdKind, type IdMap, sameExtents } from "./extent.ts";
import { checkMaps, copy, type OciMappings, ociMaps } from "./input.ts";
import { inspectAs } from "./inspect.ts";
import { isLong, type Lists, LongLists, longProperty } from "./long-lists.ts";
import { type IdRange, type OwnerOptions, ownerMaps, unmappedRanges } from "./owner.ts";
import { checkLimits, parseProcText, procText } from "./proc.ts";
import { readText } from "./read-text.ts";
import { type BestMapping, findBest, type RootlessOptions, rootlessMaps } from "./rootless.ts";
import { identityExtents, shiftExtents } from "./shift.ts";
import { printColon } from "./syntax/colon.ts";
import type { SubidUser } from "./syntax/subid.ts";
import { checkSyntax, type MappingSyntax, syntaxes } from "./syntax/table.ts";

export type { MappingContext, MappingSyntax, OciMappings, SubidUser };

/** A mapping as every function accepts it: a `Mapping`, the OCI form, or a string in the `colon` syntax. */
export type MappingInput = Mapping | OciMappings | string;

/**
 * For this package's own files: returns the extents for one use, without the cost of the frozen lists that the properties of a
 * long mapping return.
 */
export let extentsOf: (mapping: Mapping) => Lists;

let longOf: (mapping: Mapping) => LongLists;

/** The first argument of the constructor, so that no other code makes a mapping that was not checked. */
const OWN = Symbol("own");

const UID_MAPPINGS = longProperty("uid", (mapping: Mapping) => longOf(mapping));
const GID_MAPPINGS = longProperty("gid", (mapping: Mapping) => longOf(mapping));

/**
 * The user IDs and group IDs that a user namespace or an ID-mapped mount maps. A mapping is immutable and valid by the rules of
 * the kernel. Its extents are canonical: sorted by `containerID`, and merged where one continues another. Therefore mappings of
 * the same IDs are equal, whatever the order or the split of their input.
 * @see user_namespaces(7)
 */
export class Mapping {
	/**
	 * The extents of user IDs, canonical and frozen. `containerID` is the first ID inside the namespace, or on disk for a mount;
	 * `hostID` is the first ID outside, or visible through the mount.
	 */
	declare readonly uidMappings: Extents;
	/** The extents of group IDs, in the same form. */
	declare readonly gidMappings: Extents;
	#id: string | undefined;
	/** Undefined for a short mapping, which holds its lists. */
	readonly #long: LongLists | undefined;
	#inverse: WeakRef<Mapping> | undefined;

	/*
	 * A long mapping holds its canonical text instead of its lists, because thousands of handles may be cached. The two properties
	 * are own properties either way, because deepEqual, structuredClone and {...mapping} read no others.
	 */
	private constructor(own: typeof OWN, uid: Extents, other: Extents) {
		if (own !== OWN) throw illegalConstructor("Mapping", "Mapping.from() or Mapping.parse()");
		const gid = sameExtents(uid, other) ? uid : other;
		if (isLong(uid, gid)) {
			this.#id = printColon(uid, gid);
			this.#long = new LongLists(this.#id);
			Object.defineProperty(this, "uidMappings", UID_MAPPINGS);
			Object.defineProperty(this, "gidMappings", GID_MAPPINGS);
		} else {
			this.uidMappings = freeze(uid);
			this.gidMappings = gid === uid ? uid : freeze(gid);
		}
	}

	static {
		longOf = (mapping) => mapping.#long as LongLists;
		extentsOf = (mapping) => mapping.#long?.read() ?? { uid: mapping.uidMappings, gid: mapping.gidMappings };
	}

	/**
	 * Checks a mapping and puts it in canonical form. Throws `ERR_USERNS_INVALID_MAPPING` for input that the kernel would refuse or
	 * silently change: no extent, a size of 0, an ID that is negative, fractional or above 4294967294, an overlap in either column,
	 * more than 340 extents of one kind, or a text of more than 4095 bytes.
	 */
	static from(input: MappingInput): Mapping {
		if (input instanceof Mapping) return input;
		if (typeof input === "string") return Mapping.parse(input, "colon");
		return Mapping.#of(checkMaps(ociMaps(input)));
	}

	/**
	 * Parses a text, or a list of texts: the arguments of one command, or for `proc` the two files. If no syntax is named, the text
	 * must have the same meaning in every syntax that accepts it. Throws `ERR_USERNS_INVALID_MAPPING`; the message has the column
	 * and what was expected there.
	 */
	static parse(text: string | readonly string[], syntax?: MappingSyntax, context?: MappingContext): Mapping {
		return Mapping.#of(readText(text, syntax, resolveContext(context, listsOf)).lists);
	}

	/** Parses a text as `parse` does without a syntax, and returns the syntax too: the first of `mappingSyntaxes` that fits. */
	static detect(
		text: string | readonly string[],
		context?: MappingContext,
	): { mapping: Mapping; syntax: MappingSyntax } {
		const { lists, syntax } = readText(text, undefined, resolveContext(context, listsOf));
		return { mapping: Mapping.#of(lists), syntax };
	}

	/**
	 * Parses the contents of /proc/PID/uid_map and gid_map. Both are empty until the maps of a namespace are written; the result is
	 * then an empty mapping, with which no namespace can be created.
	 */
	static fromProc(uidMap: string, gidMap: string): Mapping {
		const uid = parseProcText("uid", uidMap);
		return new Mapping(OWN, uid, gidMap === uidMap ? uid : parseProcText("gid", gidMap));
	}

	static #of({ uid, gid }: Lists): Mapping {
		return new Mapping(OWN, uid, gid);
	}

	/** The canonical text in the `colon` syntax. Equal mappings have equal ids. */
	get id(): string {
		this.#id ??= printColon(this.uidMappings, this.gidMappings); // a long mapping has it
		return this.#id;
	}

	/** Returns true if both map the same IDs to the same IDs. */
	equals(other: MappingInput): boolean {
		const mapping = Mapping.from(other);
		if (this.#long !== undefined || mapping.#long !== undefined) return this.#id === mapping.#id;
		return (
			sameExtents(this.uidMappings, mapping.uidMappings) && sameExtents(this.gidMappings, mapping.gidMappings)
		);
	}

	/**
	 * The mapping as text, in the `colon` syntax by default. Throws `ERR_USERNS_INVALID_MAPPING` if the syntax cannot express the
	 * mapping.
	 */
	toString(syntax: MappingSyntax = "colon", context?: MappingContext): string {
		if (syntax === "colon") return this.id;
		checkSyntax(syntax);
		const { uid, gid } = extentsOf(this);
		return syntaxes[syntax].print(uid, gid, resolveContext(context, listsOf));
	}

	/** A mapping of IDs to themselves, for both kinds: all IDs, or `size` IDs starting at `from`. */
	static identity(range?: { from?: number | undefined; size?: number | undefined }): Mapping {
		const extents = identityExtents(range);
		return new Mapping(OWN, extents, extents);
	}

	/** A mapping of one extent for both kinds: container IDs starting at `from`, host IDs starting at `to`, `size` of each. */
	static shift(range: { from: number; to: number; size: number }): Mapping {
		const extents = shiftExtents(range);
		return new Mapping(OWN, extents, extents);
	}

	/**
	 * The largest mapping that a user may create without privilege. Container ID 0 is the user; the IDs from 1 on are the subordinate
	 * ranges that newuidmap(1) permits and that exist in the caller's user namespace, one after the other. With `keepId`, the user has
	 * another container ID, by default its own ID, and container ID 0 is the first subordinate ID; podman calls this keep-id. `size`
	 * limits the number of IDs. This is the only method that reads files. Throws `ERR_USERNS_UNKNOWN_USER`, `ERR_USERNS_NO_SUBIDS` or
	 * `ERR_USERNS_UNMAPPED_ID`.
	 * @see subuid(5), newuidmap(1)
	 */
	static rootless(options?: RootlessOptions): Mapping {
		return Mapping.#of(checkMaps(rootlessMaps(options)));
	}

	/**
	 * The most IDs with which the caller can create a user namespace for a user (a login name or uid, by default the caller): the mapping
	 * of `rootless`, or with a `reason` the user's own IDs alone as root inside. Creates a namespace to find out, on the calling thread,
	 * because some causes appear only then: newuidmap is missing or has no privilege, or does not permit the ranges. Throws if no
	 * namespace can be created, and for an unknown `user`.
	 */
	static bestFor(user?: string | number): BestMapping {
		return findBest(user);
	}

	/**
	 * The mapping of a mount on which the files of the source's owner on disk, such as `{ uid, gid }` of fs.stat(), are visible in a container
	 * as another user, by default as its root. `container` is the mapping of its user namespace. Throws `ERR_USERNS_INVALID_ARGUMENT`
	 * if the container does not map that user.
	 */
	static owner(source: { uid: number; gid: number }, container: MappingInput, as?: OwnerOptions): Mapping {
		return Mapping.#of(ownerMaps(source, listsOf(container), as));
	}

	/** The host ID (outside, or visible) of a container ID (inside, or on disk). Undefined if it is not mapped. */
	uidToHost(id: number): number | undefined {
		return algebra.translate(this.uidMappings, id);
	}

	gidToHost(id: number): number | undefined {
		return algebra.translate(this.gidMappings, id);
	}

	/** The container ID (inside, or on disk) of a host ID (outside, or visible). Undefined if it is not mapped. */
	uidToContainer(id: number): number | undefined {
		return algebra.translate(this.invert().uidMappings, id);
	}

	gidToContainer(id: number): number | undefined {
		return algebra.translate(this.invert().gidMappings, id);
	}

	/** Exchanges container IDs and host IDs. The result is cached, because translating host IDs uses it. */
	invert(): Mapping {
		const known = this.#inverse?.deref();
		if (known !== undefined) return known;
		const { uid, gid } = extentsOf(this);
		const inverted = algebra.invert(uid);
		const inverse = new Mapping(OWN, inverted, gid === uid ? inverted : algebra.invert(gid));
		inverse.#inverse = new WeakRef(this);
		this.#inverse = new WeakRef(inverse);
		return inverse;
	}

	/** Applies this mapping, then `outer`, whose container IDs are the host IDs of this one. Drops IDs that only one of them maps. */
	compose(outer: MappingInput): Mapping {
		return this.#combine(outer, algebra.compose);
	}

	/** The IDs that both mappings map to the same ID. */
	intersect(other: MappingInput): Mapping {
		return this.#combine(other, algebra.intersect);
	}

	/** The IDs of this mapping that `other` does not map to the same ID. */
	subtract(other: MappingInput): Mapping {
		return this.#combine(other, algebra.subtract);
	}

	/** The IDs that either mapping maps. Throws `ERR_USERNS_INVALID_MAPPING` if they map an ID to different IDs, in either column. */
	union(other: MappingInput): Mapping {
		return this.#combine(other, algebra.union);
	}

	/** Returns true if this maps every ID that `other` maps, to the same ID. */
	contains(other: MappingInput): boolean {
		const { uid, gid } = extentsOf(Mapping.from(other).subtract(this));
		return uid.length === 0 && gid.length === 0;
	}

	/** The number of mapped IDs of each kind. */
	get size(): { uid: number; gid: number } {
		const { uid, gid } = extentsOf(this);
		return { uid: algebra.count(uid), gid: algebra.count(gid) };
	}

	/** The container IDs that are not mapped, as ranges in their order. */
	get unmapped(): { uid: IdRange[]; gid: IdRange[] } {
		const { uid, gid } = extentsOf(this);
		return { uid: unmappedRanges(uid), gid: unmappedRanges(gid) };
	}

	/** True if every mapped ID is mapped to itself. */
	get isIdentity(): boolean {
		const { uid, gid } = extentsOf(this);
		return [...uid, ...gid].every(({ containerID, hostID }) => containerID === hostID);
	}

	/**
	 * Maps one container ID to another host ID and keeps the other IDs. The extent that has the container ID is split, and a
	 * container ID that had the host ID is no longer mapped. Changes both kinds, or only `kind`.
	 */
	punch(containerID: number, hostID: number, kind?: IdKind): Mapping {
		if (kind !== undefined && kind !== "uid" && kind !== "gid") {
			throw invalidArgument(`Mapping.punch: the kind must be "uid" or "gid", not ${show(kind)}`);
		}
		const hole = checkExtent({ containerID, hostID, size: 1 }, "Mapping.punch");
		const punched = (each: IdKind, extents: Extents) =>
			kind === undefined || kind === each ? algebra.punch(each, extents, hole) : extents;
		const { uid, gid } = extentsOf(this);
		return new Mapping(OWN, punched("uid", uid), punched("gid", gid));
	}

	/**
	 * Returns this mapping if the kernel accepts it. Throws `ERR_USERNS_INVALID_MAPPING`, with the limit and the count, for more than
	 * 340 extents or 4095 bytes of one kind, because the results of `compose` and the other operations may be longer.
	 */
	fit(): this {
		const { uid, gid } = extentsOf(this);
		checkLimits("uid", uid);
		checkLimits("gid", gid);
		return this;
	}

	#combine(other: MappingInput, operation: (a: Extents, b: Extents, kind: IdKind) => Extents): Mapping {
		const { uid, gid } = extentsOf(this);
		const outer = listsOf(other);
		const result = operation(uid, outer.uid, "uid");
		const isSame = gid === uid && outer.gid === outer.uid;
		return new Mapping(OWN, result, isSame ? result : operation(gid, outer.gid, "gid"));
	}

	/** The OCI form, as new objects that the caller may change. */
	toJSON(): { uidMappings: IdMap[]; gidMappings: IdMap[] } {
		const { uid, gid } = extentsOf(this);
		return { uidMappings: copy(uid), gidMappings: copy(gid) };
	}

	/** The text to write to /proc/PID/uid_map or gid_map: lines "containerID hostID size", without a newline at the end. */
	procText(kind: IdKind): string {
		return procText(extentsOf(this)[kind === "uid" ? "uid" : "gid"]);
	}
}

inspectAs(Mapping.prototype, "Mapping", (mapping) => {
	const { uid, gid } = extentsOf(mapping);
	return { uidMappings: uid, gidMappings: gid };
});

function listsOf(input: MappingInput): Lists {
	return extentsOf(Mapping.from(input));
}
