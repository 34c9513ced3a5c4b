import { invalidArgument, invalidMapping, show, UsernsError } from "../errors.ts";
import { copyOptions, ownMap, ownValue } from "../options.ts";
import * as algebra from "./algebra.ts";
import {
	canonical,
	checkExtent,
	type Extents,
	findContainer,
	type IdKind,
	type IdMap,
	MAX_ID,
	sameExtents,
} from "./extent.ts";
import { checkList, copy } from "./input.ts";
import { checkLimits, parseProcText, procText } from "./proc.ts";
import { recognise } from "./detect-syntax.ts";
import { findDelegation, type RootlessOptions, rootlessExtents } from "./rootless.ts";
import { printColon } from "./syntax/colon.ts";
import type { SubidUser } from "./syntax/subid.ts";
import { checkSyntax, type MappingSyntax, type ResolvedContext, syntaxes } from "./syntax/table.ts";

export type { MappingSyntax };

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
	#inverse: Mapping | undefined;

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
		const resolved = resolveContext(context);
		const read = (name: MappingSyntax) => Mapping.#parseAs(texts, name, resolved);
		if (syntax === undefined) return recognise(texts.join(" "), read);
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

	/** The text form; `colon` unless another syntax is named. Throws when the syntax cannot express the mapping. */
	toString(syntax: MappingSyntax = "colon", context?: MappingContext): string {
		if (syntax === "colon") return this.id;
		checkSyntax(syntax);
		return syntaxes[syntax].print(this.uidMappings, this.gidMappings, resolveContext(context));
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
		if (this.#inverse === undefined) {
			const inverse = new Mapping(algebra.invert(this.uidMappings), algebra.invert(this.gidMappings));
			inverse.#inverse = this;
			this.#inverse = inverse;
		}
		return this.#inverse;
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
		const rest = Mapping.from(other).subtract(this);
		return rest.uidMappings.length === 0 && rest.gidMappings.length === 0;
	}

	/** How many IDs of each kind are mapped. */
	get size(): { uid: number; gid: number } {
		return { uid: algebra.count(this.uidMappings), gid: algebra.count(this.gidMappings) };
	}

	/** True when every ID that is mapped is mapped to itself. */
	get isIdentity(): boolean {
		return [...this.uidMappings, ...this.gidMappings].every(
			({ containerID, hostID }) => containerID === hostID,
		);
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
		return new Mapping(punched("uid", this.uidMappings), punched("gid", this.gidMappings));
	}

	/**
	 * The same mapping in the fewest extents, which it always is, once it is sure that the kernel takes it: throws
	 * `ERR_USERNS_INVALID_MAPPING` with limit and count past 340 extents or 4095 bytes. What the algebra makes along
	 * the way may be longer.
	 */
	fit(): this {
		checkLimits("uid", this.uidMappings);
		checkLimits("gid", this.gidMappings);
		return this;
	}

	#combine(other: MappingInput, operation: (a: Extents, b: Extents, kind: IdKind) => Extents): Mapping {
		const { uidMappings, gidMappings } = Mapping.from(other);
		return new Mapping(
			operation(this.uidMappings, uidMappings, "uid"),
			operation(this.gidMappings, gidMappings, "gid"),
		);
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

const CONTEXT = "the context of a mapping text";

/** Has every key, so that none is read through a prototype. */
function resolveContext(given: MappingContext | undefined): ResolvedContext {
	const known = ["parent", "rootless", "container", "user"];
	const { parent, rootless = false, container, user } = copyOptions<MappingContext>(CONTEXT, given, known);
	const maps = (input: MappingInput) => {
		const { uidMappings: uid, gidMappings: gid } = Mapping.from(input);
		return { uid, gid };
	};
	return {
		parent: parent === undefined ? undefined : { ...maps(parent), rootless },
		container: container === undefined ? undefined : maps(container),
		user: user === undefined ? undefined : copyOptions<SubidUser>(`${CONTEXT}: user`, user, ["name", "uid"]),
	};
}
