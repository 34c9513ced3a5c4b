import assert from "node:assert/strict";
import { inspect } from "node:util";
import fc from "fast-check";
import { type IdMap, Mapping } from "../../src/index.ts";
import { check, isCanonical } from "../support/arbitrary.ts";
import { ask } from "../support/child.ts";
import { LONGEST } from "../support/long-mapping.ts";
import { test } from "../support/test.ts";

/* A mapping of many extents holds a text instead of lists. No caller may see a difference. */

/** Extents that neither overlap nor merge, from `first` on in both columns. */
function list(count: number, first: number): IdMap[] {
	return Array.from({ length: count }, (_, i) => ({
		containerID: first + i * 3,
		hostID: first + 7 + i * 4,
		size: 2,
	}));
}

const MANY = 200;
const TOP = 2 ** 32 - 1 - 5 * MANY;

const shapes: [name: string, uid: IdMap[], gid: IdMap[]][] = [
	["both kinds equal", list(MANY, 0), list(MANY, 0)],
	["the kinds differ", list(MANY, 0), list(MANY, 5000)],
	["uids only", list(MANY, 0), []],
	["gids only", [], list(MANY, 0)],
	["one gid", list(MANY, 0), list(1, 9)],
	["one uid", list(1, 9), list(MANY, 0)],
	["the largest IDs", list(MANY, TOP), list(MANY, TOP - 1)],
];

for (const [name, uidMappings, gidMappings] of shapes) {
	test(`a mapping of ${MANY} extents has the shape of a short one: ${name}`, () => {
		const mapping = Mapping.fromProc(
			...([uidMappings, gidMappings].map((extents) =>
				extents.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join(""),
			) as [string, string]),
		);
		assert.deepEqual(Object.keys(mapping), ["uidMappings", "gidMappings"]);
		assert.deepEqual(mapping.uidMappings, uidMappings);
		assert.deepEqual(mapping.gidMappings, gidMappings);
		assert.deepEqual({ ...mapping }, { uidMappings, gidMappings });
		assert.deepEqual(structuredClone(mapping), { uidMappings, gidMappings });
		assert.deepEqual(JSON.parse(JSON.stringify(mapping)), { uidMappings, gidMappings });
		assert.equal(
			inspect(mapping, { maxArrayLength: null, breakLength: Number.POSITIVE_INFINITY, compact: true }),
			`Mapping ${inspect({ uidMappings, gidMappings }, { maxArrayLength: null, breakLength: Number.POSITIVE_INFINITY, compact: true })}`,
		);
		for (const kind of ["uidMappings", "gidMappings"] as const) {
			const extents = mapping[kind];
			assert.equal(mapping[kind], extents);
			assert.ok(Array.isArray(extents) && Object.isFrozen(extents) && extents.every(Object.isFrozen));
			assert.throws(() => Object.assign(mapping, { [kind]: [] }), TypeError);
		}
		assert.notDeepEqual(mapping, Mapping.from("0:0:1"));
		assert.notDeepEqual(mapping, Mapping.fromProc(`${mapping.procText("uid")}\n`, "7 7 1\n"));
		const clone = Mapping.fromProc(`${mapping.procText("uid")}\n`, `${mapping.procText("gid")}\n`);
		assert.deepEqual(mapping, clone);
		assert.ok(mapping.equals(clone) && clone.equals(mapping));
		assert.equal(mapping.id, clone.id);
		assert.equal(mapping.invert(), mapping.invert());
		assert.equal(mapping.invert().invert().id, mapping.id);
		for (const { containerID, hostID, size } of uidMappings) {
			assert.equal(mapping.uidToHost(containerID + size - 1), hostID + size - 1);
			assert.equal(mapping.uidToContainer(hostID), containerID);
		}
		for (const { containerID, hostID } of gidMappings) {
			assert.equal(mapping.gidToHost(containerID), hostID);
			assert.equal(mapping.gidToContainer(hostID), containerID);
		}
	});
}

test("a short mapping is printed as a long one, also within other objects", () => {
	const mapping = Mapping.from("0:1:2");
	const extents = "[ { containerID: 0, hostID: 1, size: 2 } ]";
	const options = { breakLength: Number.POSITIVE_INFINITY, compact: true, depth: 3 };
	assert.equal(inspect(mapping, options), `Mapping { uidMappings: ${extents}, gidMappings: ${extents} }`);
	assert.equal(inspect({ a: { b: mapping } }, { ...options, depth: 1 }), "{ a: { b: [Mapping] } }");
});

test("property: with any number of extents, the lists, the id and the texts are those of the input", () => {
	const counts = fc.tuple(fc.nat(60), fc.nat(60)).filter(([uid, gid]) => uid + gid > 0);
	const starts = fc.constantFrom(0, 9, 90, 999_980, 2 ** 31 - 100, 2 ** 32 - 1000);
	check(
		fc.property(counts, starts, starts, ([uids, gids], uidStart, gidStart) => {
			const uidMappings = list(uids, uidStart);
			const gidMappings = list(gids, gidStart);
			const mapping = Mapping.from({ uidMappings, gidMappings });
			assert.deepEqual(mapping.uidMappings, uidMappings);
			assert.deepEqual(mapping.gidMappings, gidMappings);
			assert.ok(isCanonical(mapping.uidMappings) && isCanonical(mapping.gidMappings));
			const text = (extents: IdMap[], letter: string) =>
				extents.map(({ containerID, hostID, size }) => `${letter}${containerID}:${hostID}:${size}`);
			const isSame = uids === gids && uidStart === gidStart;
			const expected = isSame
				? text(uidMappings, "")
				: [...text(uidMappings, "u:"), ...text(gidMappings, "g:")];
			assert.equal(mapping.id, expected.join(","));
			assert.equal(Mapping.from(mapping.id).id, mapping.id);
			assert.equal(mapping.procText("gid"), text(gidMappings, "").join("\n").replaceAll(":", " "));
		}),
		300,
	);
});

test("a mapping of 340 + 340 extents takes at most 12 KB, and one extent at most 1 KB", () => {
	const bytes = ask<{ long: number; asked: number; short: number }>(
		`${LONGEST}
		const COUNT = 2000;
		const each = (make) => {
			const before = used();
			const all = Array.from({ length: COUNT }, (_, i) => make(i));
			return (used() - before) / COUNT + 0 * all.length;
		};
		longest(0).id;
		print({
			long: each((i) => longest(i)),
			asked: each((i) => {
				const mapping = longest(i);
				mapping.id;
				return mapping;
			}),
			short: each((i) => Mapping.from(\`0:\${i}:1000\`)),
		});`,
		{ nodeFlags: ["--expose-gc"] },
	);
	assert.ok(bytes.long <= 12_288, `${bytes.long} bytes`);
	assert.ok(bytes.asked <= 12_288, `${bytes.asked} bytes once its id was read`);
	assert.ok(bytes.short <= 1024, `${bytes.short} bytes for one extent`);
});
