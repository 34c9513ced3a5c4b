import assert from "node:assert/strict";
import fc from "fast-check";
import { type IdMap, Mapping, UsernsError } from "../../src/index.ts";
import { check } from "../support/arbitrary.ts";
import { test } from "../support/test.ts";

const extent = (containerID: number, hostID: number, size: number): IdMap => ({ containerID, hostID, size });
const both = (...extents: IdMap[]) => ({ uidMappings: extents, gidMappings: extents });

function refuses(input: unknown, message: RegExp): void {
	assert.throws(
		() => Mapping.from(input as string),
		(error) => {
			assert.ok(error instanceof UsernsError, String(error));
			assert.equal(error.code, "ERR_USERNS_INVALID_MAPPING");
			assert.match(error.message, message);
			return true;
		},
	);
}

test("bad input has its own error, one for each way to be bad", () => {
	const cases: [unknown, RegExp][] = [
		[{}, /must have the key uidMappings or gidMappings, but has no key$/],
		[{ uidMaps: [], gid: [] }, /, but has the keys "uidMaps", "gid"$/],
		[{ uidMappings: [], gidMappings: [] }, /maps nothing/],
		[{ uidMappings: null, gidMappings: undefined }, /maps nothing/],
		["", /column 1 .*expected containerID/],
		[
			both(extent(0, 1000, 10), extent(9, 5000, 1)),
			/0:1000:10 and 9:5000:1 overlap: both have containerID 9$/,
		],
		[both(extent(0, 1000, 10), extent(50, 1005, 9)), /overlap: both have hostID 1005–1009/],
		[both(extent(0, 1000, 0)), /size must be at least 1/],
		[both(extent(-1, 1000, 1)), /containerID must not be negative, but is -1/],
		[both(extent(0, 0.5, 1)), /hostID must be a whole number, not 0.5/],
		[both(extent(0, 0, Number.NaN)), /size must be a whole number, not NaN/],
		[both(extent(0, 0, Number.POSITIVE_INFINITY)), /size must be a whole number, not Infinity/],
		[both(extent(2 ** 32, 0, 1)), /containerID must fit in 32 bits, but is 4294967296/],
		[both(extent(2 ** 32 - 1, 0, 1)), /containerID 4294967295 stands for "no ID"/],
		[both(extent(0, 2 ** 32 - 2, 2)), /the last hostID is 4294967295, above 4294967294/],
		[both(extent(1, 0, 2 ** 32 - 1)), /the last containerID is 4294967295/],
		[{ uidMappings: [{ containerID: "0", hostID: 0, size: 1 }] }, /containerID must be a number, not "0"/],
		[{ uidMappings: [{ containerID: 0n, hostID: 0, size: 1 }] }, /containerID must be a number, not 0n/],
		[{ uidMappings: [{ containerID: 0, hostID: 0 }] }, /size must be a number, not left out/],
		[{ uidMappings: [undefined] }, /uidMappings\[0\] must be an object/],
		[{ uidMappings: new Array(2) }, /uidMappings\[0\] must be an object/],
		[{ uidMappings: "0:0:1" }, /uidMappings must be an array of extents/],
		[[extent(0, 0, 1)], /a mapping must be a Mapping/],
		[null, /a mapping must be/],
		[7, /a mapping must be/],
		[undefined, /a mapping must be/],
	];
	for (const [input, message] of cases) refuses(input, message);
});

test("the text form is read strictly, and errors point at the column", () => {
	const cases: [string, RegExp][] = [
		["0:1000", /column 7 .*expected ":" after hostID, found the end/],
		["0:1000:1,", /column 10 \(extent 2\): expected containerID/],
		[" 0:1000:1", /column 1 /],
		["0:1000:1 ", /column 9 .*expected "," or the end/],
		["0:1000:1:2", /column 9 /],
		["x:0:1000:1", /column 1 /],
		["u:g:0:0:1", /column 3 /],
		["0:01000:1", /column 3 .*leading zero/],
		["0x1:0:1", /column 2 /],
		["+1:0:1", /column 1 /],
		["0:4294967296:1", /column 3 .*hostID in 32 bits/],
		["0:99999999999999999999:1", /column 3 .*hostID in 32 bits/],
		["0:0:1\u00000:5:1", /column 6 /],
		["0:0:0", /size must be at least 1/],
		["0:1,5:2:1", /column 4 \(extent 1\): expected ":" after hostID, found ","/],
	];
	for (const [text, message] of cases) refuses(text, message);
});

test("edges of the ID space are accepted as the kernel accepts them", () => {
	for (const text of ["0:0:4294967295", "4294967294:0:1", "0:4294967294:1", "4294967294:4294967294:1"]) {
		assert.equal(Mapping.from(text).id, text);
	}
});

test("order and split of the input do not matter; neighbours become one extent", () => {
	const expected = [extent(0, 1000, 1), extent(1, 100000, 65536)];
	const variants = [
		both(extent(0, 1000, 1), extent(1, 100000, 65536)),
		both(extent(1, 100000, 65536), extent(0, 1000, 1)),
		both(extent(2, 100001, 65535), extent(0, 1000, 1), extent(1, 100000, 1)),
		"b:1:100000:30000,0:1000:1,u:30001:130000:35536,g:30001:130000:35536",
	];
	for (const variant of variants) {
		const mapping = Mapping.from(variant);
		assert.deepEqual(mapping.uidMappings, expected);
		assert.deepEqual(mapping.gidMappings, expected);
		assert.equal(mapping.id, "0:1000:1,1:100000:65536");
		assert.ok(mapping.equals(variants[0] as string));
	}
});

test("a mapping is frozen through and through, and its JSON is a copy", () => {
	const input = both(extent(0, 1, 1));
	const mapping = Mapping.from(input);
	(input.uidMappings[0] as IdMap).hostID = 77;
	assert.equal(mapping.id, "0:1:1");
	assert.ok(Object.isFrozen(mapping.uidMappings));
	assert.ok(Object.isFrozen(mapping.uidMappings[0]));
	const json = mapping.toJSON();
	(json.uidMappings[0] as IdMap).hostID = 5;
	assert.equal(mapping.id, "0:1:1");
});

test("the linux object of an OCI config fits as it is, whatever other keys it has", () => {
	const linux = {
		namespaces: [{ type: "user" }],
		uidMappings: [{ ...extent(0, 1000, 1), comment: "x" }],
		gidMappings: [extent(0, 1000, 1)],
		cgroupsPath: "/x",
	};
	assert.equal(Mapping.from(linux).id, "0:1000:1");
});

test("a mapping of one kind only is valid, and says so in its text", () => {
	assert.equal(Mapping.from({ uidMappings: [extent(0, 5, 1)] }).id, "u:0:5:1");
	assert.equal(Mapping.from({ gidMappings: [extent(0, 5, 1)] }).id, "g:0:5:1");
});

test("340 extents pass and 341 do not; 4095 bytes pass and 4096 do not", () => {
	const gaps = (count: number, width: number) =>
		both(...Array.from({ length: count }, (_, i) => extent(i * 2, 10 ** width + i * 2, 1)));
	assert.equal(Mapping.from(gaps(340, 3)).uidMappings.length, 340);
	refuses(gaps(341, 3), /341 extents, but the kernel accepts at most 340/);
	// 4 + 1 + 6 + 1 + 1 + 1 bytes a line: 340 lines of six-digit parents pass the limit of the write, not that of the count.
	refuses(gaps(340, 5), /340 extents make \d+ bytes of text, but the kernel accepts at most 4095/);
	// Found by hand: exactly 4095 bytes, and one digit more.
	const exact = both(
		...Array.from({ length: 195 }, (_, i) => extent(1000000 + i * 2, 1000000000 + i * 2, 1)),
	);
	const bytes = Mapping.from(exact).procText("uid").length;
	assert.equal(bytes, 195 * 21 - 1);
	const last = exact.uidMappings[194] as IdMap;
	assert.equal(bytes, 4094);
	last.size = 10;
	assert.equal(Mapping.from(exact).procText("uid").length, 4095);
	last.size = 100;
	refuses(exact, /make 4096 bytes of text/);
});

test("more than 340 extents in the input are fine when they are at most 340 in canonical form", () => {
	const many = both(...Array.from({ length: 1000 }, (_, i) => extent(i, 5000 + i, 1)));
	assert.equal(Mapping.from(many).id, "0:5000:1000");
});

test("any shuffle and split of a mapping has the same id, and printing it parses back", () => {
	const pieces = fc.array(
		fc.record({ gap: fc.nat(50), size: fc.integer({ min: 1, max: 90 }), jump: fc.nat(500) }),
		{
			minLength: 1,
			maxLength: 40,
		},
	);
	check(
		fc.property(pieces, fc.infiniteStream(fc.nat()), (list, random) => {
			let inside = 0;
			let outside = 0;
			const extents = list.map(({ gap, size, jump }) => {
				const made = extent(inside + gap, outside + jump, size);
				inside = made.containerID + size;
				outside = made.hostID + size;
				return made;
			});
			const whole = Mapping.from(both(...extents));
			const next = () => random.next().value as number;
			const parts = extents.flatMap(({ containerID, hostID, size }) => {
				const cut = 1 + (next() % size);
				if (cut >= size) return [extent(containerID, hostID, size)];
				return [extent(containerID, hostID, cut), extent(containerID + cut, hostID + cut, size - cut)];
			});
			for (let i = parts.length - 1; i > 0; i--) {
				const j = next() % (i + 1);
				[parts[i], parts[j]] = [parts[j] as IdMap, parts[i] as IdMap];
			}
			const shuffled = Mapping.from(both(...parts));
			assert.equal(shuffled.id, whole.id);
			assert.ok(Mapping.parse(whole.id).equals(whole));
			assert.deepEqual(Mapping.fromProc(whole.procText("uid"), whole.procText("gid")), whole);
		}),
		1000,
	);
});
