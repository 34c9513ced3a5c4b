import assert from "node:assert/strict";
import { firstFree, minimumIn } from "../../src/subid/free.ts";
import { test } from "../support/test.ts";

test("firstFree returns the first gap that is large enough", () => {
	const range = (first: number, size: number) => ({ first, size });
	const cases: [ReturnType<typeof range>[], number, number, number | undefined][] = [
		[[], 100, 10, 100],
		[[range(100, 10)], 100, 10, 110],
		[[range(0, 100)], 100, 10, 100],
		[[range(109, 1)], 100, 10, 110],
		[[range(110, 1)], 100, 10, 100],
		// Out of order, overlapping, one within another, and a gap that is too small.
		[[range(125, 5), range(100, 20), range(105, 5), range(110, 14)], 100, 2, 130],
		[[range(125, 5), range(100, 20)], 100, 5, 120],
		[[], 4_294_967_294, 1, 4_294_967_294],
		[[], 4_294_967_294, 2, undefined],
		[[range(100, 4_294_967_195)], 100, 1, undefined],
	];
	for (const [ranges, from, size, expected] of cases) assert.equal(firstFree(ranges, from, size), expected);
});

test("minimumIn reads login.defs(5), and returns 100000 without an entry", () => {
	const text = "#SUB_UID_MIN 1\nSUB_UID_MIN\t\t   165536\n SUB_GID_MIN 7 \nSUB_UID_MIN x\n";
	assert.deepEqual([minimumIn(text, "uid"), minimumIn(text, "gid")], [165_536, 7]);
	assert.deepEqual([minimumIn("", "uid"), minimumIn("#SUB_GID_MIN 5", "gid")], [100_000, 100_000]);
});
