import assert from "node:assert/strict";
import fc from "fast-check";
import { type IdMap, Mapping, UsernsError } from "../../src/index.ts";
import { check, extents, isCanonical, mappings, SEED, SYNTAXES } from "../support/arbitrary.ts";
import { test } from "../support/test.ts";

/** The naive model: the result for one ID, by a scan of every extent. */
function up(list: readonly Readonly<IdMap>[], id: number): number | undefined {
	const found = list.filter((e) => id >= e.containerID && id < e.containerID + e.size);
	assert.ok(found.length <= 1);
	return found[0] && found[0].hostID + (id - found[0].containerID);
}

/**
 * The IDs at which the result can change: both edges of every extent in both columns, one beside each, and the limits.
 */
function edges(...lists: (readonly Readonly<IdMap>[])[]): number[] {
	const ids = new Set([0, 1, 65534, 65535, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1]);
	for (const { containerID, hostID, size } of lists.flat()) {
		for (const first of [containerID, hostID])
			for (const id of [first - 1, first, first + size - 1, first + size]) ids.add(id);
	}
	return [...ids].filter((id) => id >= 0 && id <= 2 ** 32 - 1);
}

test("the seed of the properties below", (t) => t.diagnostic(`USERNS_SEED=${SEED}`));

test("property: parse after print is the identity, for every syntax that can express the mapping", () => {
	check(
		fc.property(mappings, fc.constantFrom(...SYNTAXES), (mapping, syntax) => {
			const oneKind = mapping.uidMappings.length === 0 || mapping.gidMappings.length === 0;
			if (oneKind && (syntax === "oci" || syntax === "podman-idmap")) {
				assert.throws(() => mapping.toString(syntax), UsernsError);
				return;
			}
			assert.ok(Mapping.parse(mapping.toString(syntax), syntax).equals(mapping));
		}),
	);
});

test("property: subid prints and reads an extent that starts at 0", () => {
	const user = { name: "alpha" };
	check(
		fc.property(extents(), (list) => {
			let next = 0;
			const packed = list.map(({ hostID, size }) => {
				next += size;
				return { containerID: next - size, hostID, size };
			});
			if (packed.length === 0) return;
			const mapping = Mapping.from({ uidMappings: packed, gidMappings: packed });
			assert.ok(Mapping.parse(mapping.toString("subid", { user }), "subid").equals(mapping));
		}),
	);
});

test("property: any order and any split of the extents has the same id, in canonical form", () => {
	check(
		fc.property(mappings, fc.infiniteStream(fc.nat(1000)), (mapping, random) => {
			const next = () => random.next().value as number;
			const scatter = (list: readonly Readonly<IdMap>[]) =>
				list
					.flatMap(({ containerID, hostID, size }) => {
						const at = size > 1 ? 1 + (next() % (size - 1)) : 0;
						if (at === 0) return [{ containerID, hostID, size }];
						return [
							{ containerID, hostID, size: at },
							{ containerID: containerID + at, hostID: hostID + at, size: size - at },
						];
					})
					.map((extent) => ({ extent, key: next() }))
					.sort((a, b) => a.key - b.key)
					.map(({ extent }) => extent);
			const again = Mapping.from({
				uidMappings: scatter(mapping.uidMappings),
				gidMappings: scatter(mapping.gidMappings),
			});
			assert.equal(again.id, mapping.id);
			assert.ok(isCanonical(again.uidMappings) && isCanonical(again.gidMappings));
			assert.equal(Mapping.from(again.toJSON()).id, again.id);
		}),
	);
});

test("property: translation agrees with the model at every edge, and invert twice is the identity", () => {
	check(
		fc.property(mappings, (mapping) => {
			const inverse = mapping.invert();
			assert.ok(isCanonical(inverse.uidMappings));
			assert.equal(inverse.invert().id, mapping.id);
			assert.equal(Mapping.from(inverse.toJSON()).invert().id, mapping.id);
			for (const id of edges(mapping.uidMappings, mapping.gidMappings)) {
				const uid = up(mapping.uidMappings, id);
				assert.equal(mapping.uidToHost(id), uid);
				assert.equal(mapping.gidToHost(id), up(mapping.gidMappings, id));
				assert.equal(inverse.uidToContainer(id), uid);
				if (uid !== undefined) assert.equal(mapping.uidToContainer(uid), id);
				const gid = up(mapping.gidMappings, id);
				if (gid !== undefined) assert.equal(mapping.gidToContainer(gid), id);
			}
		}),
	);
});

test("property: compose is one translation after the other", () => {
	check(
		fc.property(mappings, mappings, (inner, outer) => {
			const both = inner.compose(outer);
			assert.ok(isCanonical(both.uidMappings) && isCanonical(both.gidMappings));
			const back = outer.invert().uidMappings;
			const ids = edges(inner.uidMappings, outer.uidMappings, back);
			for (const { containerID, hostID } of inner.uidMappings)
				for (const id of ids) ids.length < 500 && ids.push(containerID + (id - hostID));
			for (const id of ids) {
				const between = up(inner.uidMappings, id);
				assert.equal(
					up(both.uidMappings, id),
					between === undefined ? undefined : up(outer.uidMappings, between),
				);
			}
		}),
		1500,
	);
});

test("property: intersect, subtract, union and contains are the operations on sets of pairs", () => {
	check(
		fc.property(mappings, mappings, fc.boolean(), (a, other, related) => {
			// Unrelated mappings rarely share a pair, so this also takes a mapping that shares much with the first.
			const b = related ? a.subtract(other).union(a.intersect(a.compose("0:0:70000"))) : other;
			const shared = a.intersect(b);
			const rest = a.subtract(b);
			for (const list of [shared.uidMappings, rest.uidMappings]) assert.ok(isCanonical(list));
			for (const id of edges(a.uidMappings, b.uidMappings)) {
				const inA = up(a.uidMappings, id);
				const same = inA !== undefined && inA === up(b.uidMappings, id);
				assert.equal(up(shared.uidMappings, id), same ? inA : undefined);
				assert.equal(up(rest.uidMappings, id), same ? undefined : inA);
			}
			assert.equal(rest.union(shared).id, a.id);
			assert.ok(a.contains(shared) && a.contains(rest));
			assert.equal(a.contains(b), b.subtract(a).size.uid + b.subtract(a).size.gid === 0);
			assert.equal(shared.size.uid + rest.size.uid, a.size.uid);
			const conflict = (list: readonly Readonly<IdMap>[], against: readonly Readonly<IdMap>[]) =>
				edges(list, against).some((id) => {
					const [x, y] = [up(list, id), up(against, id)];
					return x !== undefined && y !== undefined && x !== y;
				});
			const clash = (["uidMappings", "gidMappings"] as const).some(
				(kind) => conflict(a[kind], b[kind]) || conflict(a.invert()[kind], b.invert()[kind]),
			);
			if (clash) assert.throws(() => a.union(b), /conflict/);
			else {
				const united = a.union(b);
				assert.ok(united.contains(a) && united.contains(b));
				assert.equal(united.id, b.union(a).id);
			}
		}),
		1500,
	);
});

test("property: punch maps the one ID and keeps every other ID that does not conflict", () => {
	check(
		fc.property(
			mappings,
			fc.constantFrom(0, 1, 3, 100, 65535, 2 ** 31, 2 ** 32 - 2),
			fc.constantFrom(0, 2, 101, 100001, 2 ** 32 - 2),
			(mapping, inside, outside) => {
				const punched = mapping.punch(inside, outside);
				assert.ok(isCanonical(punched.uidMappings));
				for (const id of edges(mapping.uidMappings, punched.uidMappings)) {
					const before = up(mapping.uidMappings, id);
					const expected = id === inside ? outside : before === outside ? undefined : before;
					assert.equal(up(punched.uidMappings, id), expected);
				}
			},
		),
	);
});

test("identity, shift, size and isIdentity return what they name", () => {
	assert.equal(Mapping.identity().id, "0:0:4294967295");
	assert.equal(Mapping.identity({ from: 10, size: 5 }).id, "10:10:5");
	assert.equal(Mapping.identity({ from: 4294967294 }).id, "4294967294:4294967294:1");
	assert.equal(Mapping.shift({ from: 0, to: 100000, size: 65536 }).id, "0:100000:65536");
	assert.equal(Mapping.identity({ from: 3, size: 9 }).isIdentity, true);
	assert.equal(Mapping.from("0:1:1").isIdentity, false);
	assert.deepEqual(Mapping.from("u:0:1:5,g:0:1:7").size, { uid: 5, gid: 7 });
	assert.throws(() => Mapping.shift({ from: 0, to: 4294967290, size: 100 }), /the last hostID is \d+, above/);
	assert.throws(() => Mapping.identity({ size: 0 }), /at least 1/);
	assert.throws(() => Mapping.from("0:1:1").uidToHost(1.5), /whole number/);
	assert.throws(() => Mapping.from("0:1:1").uidToHost(-1), /whole number/);
});

test("punch splits the extent that contains the ID", () => {
	assert.equal(
		Mapping.from("0:100000:65536").punch(1000, 1000).id,
		"0:100000:1000,1000:1000:1,1001:101001:64535",
	);
	assert.equal(Mapping.from("0:100000:65536").punch(1000, 1000, "uid").gidToHost(1000), 101000);
});

test("fit names the limit and the count, and intermediate results of the algebra may be longer", () => {
	const half = (offset: number) =>
		Mapping.from({
			uidMappings: Array.from({ length: 200 }, (_, i) => ({
				containerID: offset + i * 2,
				hostID: offset + i * 2,
				size: 1,
			})),
		});
	const long = half(0).union(half(1000));
	assert.equal(long.uidMappings.length, 400);
	assert.throws(() => long.fit(), /400 extents, but the kernel accepts at most 340/);
	assert.equal(half(0).fit().uidMappings.length, 200);
	const bytes = Mapping.from({
		uidMappings: Array.from({ length: 340 }, (_, i) => ({ containerID: i * 2, hostID: i * 2, size: 1 })),
	}).compose({ uidMappings: [{ containerID: 0, hostID: 4000000000, size: 1000 }] });
	assert.throws(() => bytes.fit(), /make \d+ bytes of text, but the kernel accepts at most 4095/);
});
