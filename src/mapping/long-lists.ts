import { ownCopy } from "../options.ts";
import { isForBoth, readCanonical } from "./canonical-text.ts";
import { type Extents, freeze, type IdKind } from "./extent.ts";

/** The extents of both kinds; one list where the kinds are equal. */
export interface Lists {
	readonly uid: Extents;
	readonly gid: Extents;
}

/** A mapping with more extents than this holds its text instead of its lists. */
const MOST_LISTED = 32;

export function isLong(uid: Extents, gid: Extents): boolean {
	return uid.length + (gid === uid ? 0 : gid.length) > MOST_LISTED;
}

/**
 * The extents of a mapping that holds only its canonical text. 680 extents take 38 KB as objects and at most 9.6 KB as text,
 * because the kernel accepts 4095 bytes for each kind.
 */
export class LongLists {
	readonly #text: string;
	#uid: WeakRef<Extents> | undefined;
	#gid: WeakRef<Extents> | undefined;

	constructor(text: string) {
		this.#text = text;
	}

	/**
	 * The frozen list of one kind. The same list is returned for as long as it is referenced elsewhere, and mostly until the
	 * next collection of old objects, so that a caller who reads it in a loop does not have the text read each time.
	 */
	list(kind: IdKind): Extents {
		const known = this.#known(kind);
		if (known !== undefined) return known;
		const list = freeze(readCanonical(this.#text, kind));
		const reference = new WeakRef(list);
		const isBoth = isForBoth(this.#text);
		if (isBoth || kind === "uid") this.#uid = reference;
		if (isBoth || kind === "gid") this.#gid = reference;
		return list;
	}

	/**
	 * Both lists, not frozen, for one use within this package. A WeakRef would keep them until the end of the current job, which
	 * may create thousands of namespaces.
	 */
	read(): Lists {
		const uid = this.#known("uid") ?? readCanonical(this.#text, "uid");
		if (isForBoth(this.#text)) return { uid, gid: uid };
		return { uid, gid: this.#known("gid") ?? readCanonical(this.#text, "gid") };
	}

	#known(kind: IdKind): Extents | undefined {
		return (kind === "uid" ? this.#uid : this.#gid)?.deref();
	}
}

/** The enumerable accessor property of a long mapping that returns its list of one kind. All long mappings have the same two. */
export function longProperty<T>(kind: IdKind, longOf: (mapping: T) => LongLists): PropertyDescriptor {
	return ownCopy({
		enumerable: true,
		get(this: T): Extents {
			return longOf(this).list(kind);
		},
	});
}
