import type { InspectOptions, InspectOptionsStylized } from "node:util";
import { invalidArgument, invalidMapping, show, UsernsError } from "../errors.ts";
import { copyOptions, ownCopy, ownMap, ownValue } from "../options.ts";
import * as algebra from "./algebra.ts";
import { type MappingContext, resolveContext } from "./context.ts";
import { detectSyntax } from "./detect-syntax.ts";
import {
	canonical,
	checkExtent,
	type Extents,
	findContainer,
	freeze,
	type IdKind,
	type IdMap,
	MAX_ID,
	sameExtents,
} from "./extent.ts";
import { checkList, copy } from "./input.ts";
import { isLong, type Lists, LongLists } from "./long-lists.ts";
import { checkLimits, parseProcText, procText } from "./proc.ts";
import { findDelegation, type RootlessOptions, rootlessExtents } from "./rootless.ts";
import { printColon } from "./syntax/colon.ts";
import { checkSyntax, type MappingSyntax, type ResolvedContext, syntaxes } from "./syntax/table.ts";

export type { MappingContext, MappingSyntax };

/** The shape of the OCI runtime-spec; any other keys are ignored, so that a config's `linux` object fits as it is. */
export interface OciMappings {
	uidMappings?: readonly Readonly<IdMap>[] | null | undefined;
	gidMappings?: readonly Readonly<IdMap>[] | null | undefined;
}

/** What every function that takes a mapping takes: a Mapping, the OCI form, or the `colon` text form. */
export type MappingInput = Mapping | OciMappings | string;

/**
 * For this package's own files: the extents for one use. A long mapping then need not make the frozen lists that its
 * properties show.
 */
export let extentsOf: (mapping: Mapping) => Lists;

let longListOf: (mapping: Mapping, kind: IdKind) => Extents;

function longProperty(kind: IdKind): PropertyDescriptor {
	return ownCopy({
		enumerable: true,
		get(this: Mapping): Extents {
			return longListOf(this, kind);
		},
	});
}

const UID_MAPPINGS = longProperty("uid");
const GID_MAPPINGS = longProperty("gid");

/**
 * What a user namespace maps: user IDs and group IDs. Immutable, valid by the kernel's own rules, and canonical
 * (extents sorted by `containerID`, those that continue each other merged), so that two mappings which mean the same
 * are the same, whatever the order or split of the input.
 * @see user_namespaces(7)
 */
export class Mapping {
	/** Canonical and frozen. `containerID` is the ID inside (for a mount: on disk), `hostID` the ID outside (visible). */
	declare readonly uidMappings: Extents;
	/** Canonical and frozen, as `uidMappings`. */
	declare readonly gidMappings: Extents;
	#id: string | undefined;
	/** Only for a mapping that has no lists of its own. */
	readonly #long: LongLists | undefined;
	#inverse: WeakRef<Mapping> | undefined;

	/*
	 * A mapping of many extents holds its canonical text, and its lists are made when they are read: handles are cached by the
	 * thousand. The two properties are its own in either case, because deepEqual, structuredClone and {...mapping} see only these.
	 */
	private constructor(uid: Extents, other: Extents) {
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
		longListOf = (mapping, kind) => (mapping.#long as LongLists).list(kind);
		extentsOf = (mapping) => mapping.#long?.read() ?? { uid: mapping.uidMappings, gid: mapping.gidMappings };
	}

	/**
	 * Checks and canonicalises. Throws `ERR_USERNS_INVALID_MAPPING` for whatever the kernel would refuse or, worse,
	 * quietly change: no extents at all, size 0, an ID that is negative, fractional or past 4294967294, an overlap in
	 * either column, more than 340 extents, or a text over 4095 bytes.
	 */
	static from(input: MappingInput): Mapping {
		if (input instanceof Mapping) return input;
		if (typeof input === "string") return Mapping.parse(input, "colon");
		if (typeof input !== "object" || input === null || Array.isArray(input)) {
			throw invalidMapping(
				`a mapping must be a Mapping, an object {uidMappings, gidMappings} or a text, not ${show(input)}`,
				'For example "0:2100000000:65536".',
			);
		}
		return Mapping.#checked({
			uid: checkList("uid", ownValue(input, "uidMappings")),
			gid: checkList("gid", ownValue(input, "gidMappings")),
		});
	}

	/**
	 * Reads a text form, or a list of them: the arguments of one command, or for `proc` the two files. Without a syntax
	 * only a text with one meaning is taken; the error says which syntaxes it could have been. `containerID` is the ID
	 * inside, or on disk; `hostID` the ID outside, or visible. Throws `ERR_USERNS_INVALID_MAPPING`, pointing at the
	 * column, and nothing else.
	 */
	static parse(text: string | readonly string[], syntax?: MappingSyntax, context?: MappingContext): Mapping {
		const list = Array.isArray(text) ? text : [text];
		const texts = ownMap(list, (each) => (typeof each === "string" ? each : undefined));
		if (texts.length === 0 || !texts.every((each) => each !== undefined)) {
			throw invalidArgument(`a mapping text must be a string or an array of them, not ${show(text)}`);
		}
		const resolved = resolveContext(context, listsOf);
		const read = (name: MappingSyntax) => Mapping.#parseAs(texts, name, resolved);
		if (syntax === undefined) return detectSyntax(texts.join(" "), read);
		checkSyntax(syntax);
		return read(syntax);
	}

	static #parseAs(texts: readonly string[], syntax: MappingSyntax, context: ResolvedContext): Mapping {
		const maps = syntaxes[syntax].parse(texts, context);
		try {
			return Mapping.#checked(maps);
		} catch (error) {
			if (!(error instanceof UsernsError)) throw error;
			throw invalidMapping(`${syntax} text: ${error.message}`, error.hint);
		}
	}

	/**
	 * The mapping that two files /proc/PID/uid_map and gid_map show. A namespace whose maps were not written yet
	 * shows empty files and gives an empty mapping, which no namespace can be asked for with.
	 */
	static fromProc(uidMap: string, gidMap: string): Mapping {
		const uid = parseProcText("uid", uidMap);
		return new Mapping(uid, gidMap === uidMap ? uid : parseProcText("gid", gidMap));
	}

	static #checked(maps: { uid: readonly IdMap[]; gid: readonly IdMap[] }): Mapping {
		const uid = canonical("uid", maps.uid);
		const gid = canonicalBeside(uid, maps.gid);
		if (uid.length === 0 && gid.length === 0) {
			throw invalidMapping(
				"the mapping maps nothing: neither uidMappings nor gidMappings has an extent",
				"Give at least one extent, such as 0:2100000000:65536.",
			);
		}
		checkLimits("uid", uid);
		if (gid !== uid) checkLimits("gid", gid);
		return new Mapping(uid, gid);
	}

	/** Equal for equal mappings, whatever the order or the split of their input. It is the canonical `colon` text. */
	get id(): string {
		this.#id ??= printColon(this.uidMappings, this.gidMappings); // a long mapping has it
		return this.#id;
	}

	/** True when both map the same IDs to the same IDs. */
	equals(other: MappingInput): boolean {
		const mapping = Mapping.from(other);
		if (this.#long !== undefined || mapping.#long !== undefined) return this.#id === mapping.#id;
		return (
			sameExtents(this.uidMappings, mapping.uidMappings) && sameExtents(this.gidMappings, mapping.gidMappings)
		);
	}

	/** The text form; `colon` unless another syntax is named. Throws when the syntax cannot express the mapping. */
	toString(syntax: MappingSyntax = "colon", context?: MappingContext): string {
		if (syntax === "colon") return this.id;
		checkSyntax(syntax);
		const { uid, gid } = extentsOf(this);
		return syntaxes[syntax].print(uid, gid, resolveContext(context, listsOf));
	}

	/** Every ID as itself: all of them, or `size` from `from` on. */
	static identity(range?: { from?: number | undefined; size?: number | undefined }): Mapping {
		const known = ["from", "size"];
		const { from = 0, size = MAX_ID - from + 1 } = copyOptions<typeof range & object>(
			"Mapping.identity",
			range,
			known,
		);
		return Mapping.shift({ from, to: from, size });
	}

	/** `size` IDs from `from` on (inside, or on disk) as those from `to` on (outside, or visible), for both kinds. */
	static shift(range: { from: number; to: number; size: number }): Mapping {
		const { from, to, size } = copyOptions<typeof range>("Mapping.shift", range, ["from", "to", "size"]);
		const extent = checkExtent(
			{ containerID: from, hostID: to, size },
			"Mapping.shift {from, to, size} as an extent",
		);
		const extents = canonical("uid", [extent]);
		return new Mapping(extents, extents);
	}

	/**
	 * The largest mapping that a user may make without privilege: inside, 0 is the user, and 1… are the subordinate
	 * ranges of /etc/subuid and /etc/subgid (or of what getsubids(1) is told by NSS), one behind the other. With `keepId`
	 * the user's own IDs stay themselves and root is the first subordinate ID, which podman calls keep-id. The one
	 * function here that looks something up. Throws `ERR_USERNS_UNKNOWN_USER` or `ERR_USERNS_NO_SUBIDS`.
	 * @see subuid(5), newuidmap(1)
	 */
	static rootless(options?: RootlessOptions): Mapping {
		const known = ["user", "keepId"];
		const { user, keepId = false } = copyOptions<RootlessOptions>("Mapping.rootless", options, known);
		if (typeof keepId !== "boolean") {
			throw invalidArgument(`Mapping.rootless: keepId must be a boolean, not ${show(keepId)}`);
		}
		const { uid, gid } = findDelegation(user);
		return Mapping.#checked({ uid: rootlessExtents(uid, keepId), gid: rootlessExtents(gid, keepId) });
	}

	/** The host ID (outside, or visible) of a container ID (inside, or on disk); undefined when it is not mapped. */
	uidToHost(id: number): number | undefined {
		return translate(this.uidMappings, id);
	}

	gidToHost(id: number): number | undefined {
		return translate(this.gidMappings, id);
	}

	/** The container ID (inside, or on disk) of a host ID (outside, or visible); undefined when it is not mapped. */
	uidToContainer(id: number): number | undefined {
		return translate(this.invert().uidMappings, id);
	}

	gidToContainer(id: number): number | undefined {
		return translate(this.invert().gidMappings, id);
	}

	/** Container and host exchanged. Kept: translating back uses it. */
	invert(): Mapping {
		const known = this.#inverse?.deref();
		if (known !== undefined) return known;
		const { uid, gid } = extentsOf(this);
		const inverted = algebra.invert(uid);
		const inverse = new Mapping(inverted, gid === uid ? inverted : algebra.invert(gid));
		inverse.#inverse = new WeakRef(this);
		this.#inverse = new WeakRef(inverse);
		return inverse;
	}

	/** This first, then `outer`: what this calls a host ID is a container ID there. IDs without both fall away. */
	compose(outer: MappingInput): Mapping {
		return this.#combine(outer, algebra.compose);
	}

	/** What both map, and in the same way. */
	intersect(other: MappingInput): Mapping {
		return this.#combine(other, algebra.intersect);
	}

	/** What this maps and `other` does not map in the same way. */
	subtract(other: MappingInput): Mapping {
		return this.#combine(other, algebra.subtract);
	}

	/** What either maps. Throws where an ID would be mapped in two ways, in either column. */
	union(other: MappingInput): Mapping {
		return this.#combine(other, algebra.union);
	}

	/** True when this maps everything that `other` does, and in the same way. */
	contains(other: MappingInput): boolean {
		const { uid, gid } = extentsOf(Mapping.from(other).subtract(this));
		return uid.length === 0 && gid.length === 0;
	}

	/** How many IDs of each kind are mapped. */
	get size(): { uid: number; gid: number } {
		const { uid, gid } = extentsOf(this);
		return { uid: algebra.count(uid), gid: algebra.count(gid) };
	}

	/** True when every ID that is mapped is mapped to itself. */
	get isIdentity(): boolean {
		const { uid, gid } = extentsOf(this);
		return [...uid, ...gid].every(({ containerID, hostID }) => containerID === hostID);
	}

	/**
	 * Maps one ID specially and keeps the rest ("my user stays my user"): the extent that it falls in is split, and a
	 * container ID that had that host ID loses it. For both kinds, unless one is named.
	 */
	punch(containerID: number, hostID: number, kind?: IdKind): Mapping {
		if (kind !== undefined && kind !== "uid" && kind !== "gid") {
			throw invalidArgument(`Mapping.punch: the kind must be "uid" or "gid", not ${show(kind)}`);
		}
		const hole = checkExtent({ containerID, hostID, size: 1 }, "Mapping.punch");
		const punched = (each: IdKind, extents: Extents) =>
			kind === undefined || kind === each ? algebra.punch(each, extents, hole) : extents;
		const { uid, gid } = extentsOf(this);
		return new Mapping(punched("uid", uid), punched("gid", gid));
	}

	/**
	 * The same mapping in the fewest extents, which it always is, once it is sure that the kernel takes it: throws
	 * `ERR_USERNS_INVALID_MAPPING` with limit and count past 340 extents or 4095 bytes. What the algebra makes along
	 * the way may be longer.
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
		return new Mapping(result, isSame ? result : operation(gid, outer.gid, "gid"));
	}

	/** The OCI form, with fresh arrays that the caller may change. */
	toJSON(): { uidMappings: IdMap[]; gidMappings: IdMap[] } {
		const { uid, gid } = extentsOf(this);
		return { uidMappings: copy(uid), gidMappings: copy(gid) };
	}

	/** The text for /proc/PID/uid_map or gid_map. */
	procText(kind: IdKind): string {
		return procText(extentsOf(this)[kind === "uid" ? "uid" : "gid"]);
	}
}

// Getters are not printed, so a long mapping would be printed without its extents.
Object.defineProperty(
	Mapping.prototype,
	Symbol.for("nodejs.util.inspect.custom"),
	ownCopy({ value: inspectMapping, writable: true, configurable: true }),
);

function listsOf(input: MappingInput): Lists {
	return extentsOf(Mapping.from(input));
}

/** For console.log and util.inspect(): as an object with two properties is printed. */
function inspectMapping(
	this: Mapping,
	depth: number,
	options: InspectOptionsStylized,
	inspect: (value: unknown, options: InspectOptions) => string,
): string {
	if (depth < 0) return options.stylize("[Mapping]", "special");
	const { uid, gid } = extentsOf(this);
	return `Mapping ${inspect({ uidMappings: uid, gidMappings: gid }, options)}`;
}

/** The canonical form of group IDs; where it is that of the user IDs, as it mostly is, the very same list. */
function canonicalBeside(uid: Extents, gid: readonly IdMap[]): Extents {
	return sameExtents(uid, gid) ? uid : canonical("gid", gid);
}

function translate(extents: Extents, id: number): number | undefined {
	if (!Number.isInteger(id) || id < 0 || id > 0xffffffff) {
		throw invalidArgument(`an ID must be a whole number from 0 to 4294967295, not ${show(id)}`);
	}
	const extent = findContainer(extents, id);
	return extent === undefined ? undefined : extent.hostID + (id - extent.containerID);
}
