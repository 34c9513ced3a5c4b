import assert from "node:assert/strict";
import { Mapping } from "../../src/index.ts";
import { test } from "../support/test.ts";
import { tmpfs } from "./filesystems.ts";
import { type Fixture, needsOf, openFor, planRow, throughMount } from "./matrix.ts";
import { type Shape, shapes } from "./shapes.ts";
import { namespaceRoot } from "./tree.ts";

// The matrix must be able to fail: here the mount has another map than the plan expects.

const needs = [...needsOf(tmpfs), "linux:6.3"] as const; // the first version that maps a tmpfs
const fixture = await openFor(tmpfs);
let rows = 0;

/** How many steps of each operation have an unexpected result, and how many there are. */
async function noticed(shape: Shape, mapping: Mapping): Promise<Map<string, number>> {
	const { traits } = fixture as Fixture;
	const plan = planRow(shape, `row${rows++}`, traits);
	const counts = new Map([...plan.operations].map((operation) => [operation, 0]));
	const { visible } = namespaceRoot(shape);
	for (const { operation } of await throughMount(fixture as Fixture, mapping, visible, plan)) {
		counts.set(operation, (counts.get(operation) ?? 0) + 1);
	}
	assert.equal(counts.get("preparing"), 0);
	counts.delete("preparing");
	return counts;
}

for (const shape of shapes) {
	const { uidMappings } = shape.mapping;
	test(`every operation of the matrix notices an inverted map: ${shape.name}`, { needs }, async () => {
		const counts = await noticed(shape, shape.mapping.invert());
		// The root of file capabilities is a uid, and some of these maps do not change the uids.
		if (uidMappings.every(({ containerID, hostID }) => containerID === hostID)) {
			assert.equal(counts.get("file capabilities"), 0);
			counts.delete("file capabilities");
		}
		for (const [operation, count] of counts) {
			assert.notEqual(count, 0, `nothing of "${operation}" came out otherwise`);
		}
	});
}

for (const [what, text] of [
	["one ID less", "0:100000:65535"],
	["one ID more", "0:100000:65537"],
	["a uid beside", "u:0:100001:65536,g:0:100000:65536"],
	["a gid beside", "u:0:100000:65536,g:0:100001:65536"],
	["another in between", "0:100000:65535,65535:300000:1"],
] as const) {
	test(`the matrix notices a map with ${what}`, { needs }, async () => {
		const counts = await noticed(shapes[0] as Shape, Mapping.from(text));
		assert.ok([...counts.values()].some((count) => count > 0));
	});
}
