import assert from "node:assert/strict";
import fc from "fast-check";
import { canonical } from "../../src/mapping/extent.ts";
import { disjoint, rootlessExtents, type SubidRange } from "../../src/mapping/rootless.ts";
import { check } from "../support/arbitrary.ts";
import { test } from "../support/test.ts";

function text(own: number, ranges: SubidRange[], keepId: boolean): string {
	return rootlessExtents({ own, ranges }, keepId ? own : 0)
		.map(({ containerID, hostID, size }) => `${containerID}:${hostID}:${size}`)
		.join(",");
}

test("the user is 0 in the namespace, and the ranges follow in their order", () => {
	const ranges = [
		{ first: 200000, size: 5 },
		{ first: 100000, size: 2 },
	];
	assert.equal(text(1000, ranges, false), "0:1000:1,1:200000:5,6:100000:2");
});

test("keepId maps the own ID to itself, and cuts a range at it", () => {
	assert.equal(text(3, [{ first: 100000, size: 5 }], true), "3:3:1,0:100000:3,4:100003:2");
	assert.equal(text(0, [{ first: 100000, size: 5 }], true), "0:0:1,1:100000:5");
	assert.equal(text(5, [{ first: 100000, size: 5 }], true), "5:5:1,0:100000:5");
	assert.equal(text(1000, [{ first: 100000, size: 5 }], true), "1000:1000:1,0:100000:5");
});

test("the user has the container ID of keepId, and size counts every ID, as for --userns=keep-id of podman-run(1)", () => {
	const ranges = [{ first: 100000, size: 65536 }];
	const at = (inside: number, size?: number) =>
		rootlessExtents({ own: 1000, ranges }, inside, size)
			.map(({ containerID, hostID, size: count }) => `${containerID}:${hostID}:${count}`)
			.join(",");
	assert.equal(at(11), "11:1000:1,0:100000:11,12:100011:65525");
	assert.equal(at(0, 1000), "0:1000:1,1:100000:999");
	assert.equal(at(11, 20), "11:1000:1,0:100000:11,12:100011:8");
	// The user's ID is above the others if they do not reach it.
	assert.equal(at(1000, 11), "1000:1000:1,0:100000:10");
	assert.equal(at(1000, 1), "1000:1000:1");
	assert.equal(at(70000), "70000:1000:1,0:100000:65536");
});

test("a range that contains the own ID does not map it twice", () => {
	assert.equal(text(1000, [{ first: 999, size: 3 }], false), "0:1000:1,1:999:1,2:1001:1");
	assert.equal(text(1000, [{ first: 1000, size: 1 }], false), "0:1000:1");
});

const id = fc.oneof(fc.nat(20), fc.integer({ min: 4294967200, max: 4294967294 }));
const range = fc
	.record({ first: id, size: fc.integer({ min: 1, max: 30 }) })
	.map(({ first, size }) => ({ first, size: Math.min(size, 4294967295 - first) }));

test("property: each ID of any ranges is mapped once, the own ID as requested, and no other ID", () => {
	check(
		fc.property(id, fc.array(range, { maxLength: 6 }), fc.boolean(), (own, ranges, keepId) => {
			const extents = rootlessExtents({ own, ranges }, keepId ? own : 0);
			// canonical() throws if extents overlap in either column.
			canonical("uid", extents);
			const hosts = new Set(
				extents.flatMap(({ hostID, size }) => Array.from({ length: size }, (_, i) => hostID + i)),
			);
			const wanted = new Set([
				own,
				...ranges.flatMap(({ first, size }) => Array.from({ length: size }, (_, i) => first + i)),
			]);
			assert.deepEqual(hosts, wanted);
			assert.deepEqual(extents[0], { containerID: keepId ? own : 0, hostID: own, size: 1 });
			// Without a gap: as many IDs as there are, from 0 on, and the own ID if it is kept.
			const inside = extents.flatMap(({ containerID, size }) =>
				Array.from({ length: size }, (_, i) => containerID + i),
			);
			const dense = inside.filter((each) => !(keepId && each === own)).sort((a, b) => a - b);
			dense.forEach((each, i) => {
				assert.equal(each, i + (keepId && own <= i ? 1 : 0));
			});
		}),
	);
});

test("ranges that overlap count once, in the position of the first line", () => {
	check(
		fc.property(fc.array(range, { maxLength: 6 }), (ranges) => {
			const kept = disjoint(ranges);
			const all = kept.flatMap(({ first, size }) => Array.from({ length: size }, (_, i) => first + i));
			assert.equal(new Set(all).size, all.length);
			assert.deepEqual(
				new Set(all),
				new Set(ranges.flatMap(({ first, size }) => Array.from({ length: size }, (_, i) => first + i))),
			);
			if (ranges[0]) assert.deepEqual(kept[0], ranges[0]);
		}),
	);
});
