import assert from "node:assert/strict";
import fc from "fast-check";
import { parseKernelLines, parseProcLines } from "../../src/mapping/proc.ts";
import { check } from "../support/arbitrary.ts";
import { test } from "../support/test.ts";

/*
 * A fast parser reads the kernel's own texts, and leaves all other texts to the general parser. The result does not
 * show which parser ran; these tests do, so that the fast parser is neither wrong nor unused.
 */

const LINE = /^ *(0|[1-9]\d{0,9}) +(0|[1-9]\d{0,9}) +(0|[1-9]\d{0,9})$/;
const IDS = 2n ** 32n - 1n;

/** The same in another way, with numbers without limits. */
function expected(text: string): { containerID: number; hostID: number; size: number }[] | undefined {
	const lines = text.split("\n");
	const last = lines.pop() ?? "";
	if (!/^ *$/.test(last)) return undefined;
	const extents = [];
	for (const line of lines) {
		const [containerID, hostID, size] = LINE.exec(line)?.slice(1).map(BigInt) ?? [];
		if (containerID === undefined || hostID === undefined || size === undefined) return undefined;
		if (size === 0n || containerID + size > IDS || hostID + size > IDS) return undefined;
		extents.push({ containerID: Number(containerID), hostID: Number(hostID), size: Number(size) });
	}
	return extents;
}

const cases = [
	"",
	"   ",
	"\n",
	"         0          0 4294967295\n",
	"         0          0 4294967296\n",
	"         1          0 4294967294\n",
	"         1          0 4294967295\n",
	"         0          1 4294967294\n",
	"         0          1 4294967295\n",
	"4294967294 4294967294          1\n",
	"4294967295 0 1\n",
	"0 4294967295 1\n",
	"9999999999 0 1\n",
	"0 0 9999999999\n",
	"10000000000 0 1\n",
	"00000000000 0 1\n",
	"0 100000 65536\n",
	"0 1000 1\n1 100000 65536\n",
	" 0 1000 1\n \n",
	"0 1000 1\n\n1 2 3\n",
	"0 1000 1 \n",
	"0 1000 1 2\n",
	"0 1000\n",
	"0 1000 \n",
	"0\n",
	"0 1000 0\n",
	"0 1000 1",
	"0 1000 ",
	"0 1000",
	"0 1",
	"0 ",
	"0",
	"0 1000 1\n5",
	"0 1000 1\n5 ",
	"0 1000 1\n  ",
	"00 1000 1\n",
	"0 01000 1\n",
	"0 1000 01\n",
	"10 20 30\n",
	"100 200 300\n",
	"0\t1000\t1\n",
	"0 1000 1\r\n",
	"/ 1000 1\n",
	"0 : 1\n",
	"0 1000 1:\n",
	"0 1000 1:5 1 2\n",
	"1/0 1000 1\n",
	"1:0 1000 1\n",
	"-1 0 1\n",
	"0123456789 0 1\n",
	"1234567890 987654321 1\n",
	"٣ 0 1\n",
];

for (const text of cases) {
	test(`the fast parser takes the kernel's own text only: ${JSON.stringify(text)}`, () => {
		assert.deepEqual(parseKernelLines(text), expected(text));
	});
}

test("the fast parser agrees on lines as the kernel prints them, and with one character changed", () => {
	const id = fc.nat({ max: 5_000_000_000 });
	const printed = fc
		.array(fc.tuple(id, id, id), { maxLength: 4 })
		.map((extents) =>
			extents.map((numbers) => `${numbers.map((n) => String(n).padStart(10)).join(" ")}\n`).join(""),
		);
	const changed = fc
		.tuple(printed, fc.nat(), fc.constantFrom("", "0", "1", "9", " ", "\n", "\t", "/", ":", "-"))
		.map(([text, at, character]) => {
			const where = at % (text.length + 1);
			return text.slice(0, where) + character + text.slice(where + 1);
		});
	check(
		fc.property(fc.oneof(printed, changed), (text) => {
			const found = parseKernelLines(text);
			assert.deepEqual(found, expected(text));
			if (found !== undefined) assert.deepEqual(parseProcLines("uid", text), found);
		}),
	);
});
