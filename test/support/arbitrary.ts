import fc from "fast-check";
import { type IdMap, Mapping, type MappingSyntax, mappingSyntaxes } from "../../src/index.ts";

/**
 * A million cases in the long form, thousands otherwise. USERNS_RUNS limits them, because mutation testing runs them
 * often.
 */
const LONG = process.env.USERNS_LONG === "1";
const MOST = Number(process.env.USERNS_RUNS ?? Number.POSITIVE_INFINITY);

/** The seed of this run; USERNS_SEED repeats an old one. */
export const SEED: number = Number(process.env.USERNS_SEED ?? Date.now() % 0x7fffffff);

export function check<T extends [unknown, ...unknown[]]>(property: fc.IProperty<T>, runs = 3000): void {
	fc.assert(property, {
		numRuns: Math.min(LONG ? 1_000_000 : runs, MOST),
		seed: SEED,
		endOnFailure: MOST < runs, // the run only needs to know whether it fails
	});
}

const MAX = 4294967295;
const EDGES = [0, 1, 65534, 65535, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 3, 2 ** 32 - 2];

/** Lengths close to those at which the behaviour changes. */
export const extentCount: fc.Arbitrary<number> = fc.oneof(
	{ weight: 8, arbitrary: fc.integer({ min: 0, max: 8 }) },
	{ weight: 2, arbitrary: fc.constantFrom(5, 6, 7) },
);

/** Extents of one kind without overlap: gaps and sizes in both columns, the second in a shuffled order. */
export function extents(count: fc.Arbitrary<number> = extentCount): fc.Arbitrary<IdMap[]> {
	return count
		.chain((length) =>
			fc.record({
				sizes: fc.array(fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom(1, 1000, 65536)), {
					minLength: length,
					maxLength: length,
				}),
				gaps: fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 4 })), {
					minLength: 2 * length,
					maxLength: 2 * length,
				}),
				starts: fc.tuple(fc.constantFrom(...EDGES, 0, 0, 100), fc.constantFrom(...EDGES, 100, 1000, 100000)),
				order: fc.shuffledSubarray(
					Array.from({ length }, (_, i) => i),
					{ minLength: length, maxLength: length },
				),
			}),
		)
		.map(({ sizes, gaps, starts, order }) => {
			const list: IdMap[] = sizes.map((size) => ({ containerID: 0, hostID: 0, size }));
			let at = starts[0];
			list.forEach((extent, i) => {
				at += gaps[i] as number;
				extent.containerID = at;
				at += extent.size;
			});
			at = starts[1];
			order.forEach((which, i) => {
				const extent = list[which] as IdMap;
				at += gaps[sizes.length + i] as number;
				extent.hostID = at;
				at += extent.size;
			});
			return list.filter(
				({ containerID, hostID, size }) => containerID + size <= MAX && hostID + size <= MAX,
			);
		});
}

/** A mapping with at least one ID. */
export const mappings: fc.Arbitrary<Mapping> = fc
	.tuple(extents(), extents(), fc.boolean())
	.filter(([uid, gid, same]) => uid.length > 0 || (!same && gid.length > 0))
	.map(([uid, gid, same]) => Mapping.from({ uidMappings: uid, gidMappings: same ? uid : gid }));

/** All but subid, which takes a user. */
export const SYNTAXES: readonly MappingSyntax[] = (Object.keys(mappingSyntaxes) as MappingSyntax[]).filter(
	(name) => name !== "subid",
);

export function isCanonical(list: readonly Readonly<IdMap>[]): boolean {
	return list.every((extent, i) => {
		const before = list[i - 1];
		if (extent.size < 1 || !Object.isFrozen(extent)) return false;
		if (before === undefined) return true;
		const apart = extent.containerID - (before.containerID + before.size);
		return apart > 0 || (apart === 0 && before.hostID + before.size !== extent.hostID);
	});
}
