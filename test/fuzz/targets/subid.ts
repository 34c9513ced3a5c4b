import { Mapping } from "../../../src/index.ts";
import { rootlessExtents, type SubidRange } from "../../../src/mapping/rootless.ts";
import { readSubidLines } from "../../../src/mapping/subid-lines.ts";
import { subidService } from "../../../src/subid/nss.ts";
import { parseGetsubids } from "../../../src/subid/ranges.ts";
import { parseEntries } from "../../../src/subid/users.ts";
import { about, attempt, must, skeleton, type Target, toText } from "../engine/target.ts";
import { checkAll } from "./mapping.ts";

/** Ranges of IDs that can be mapped, and a mapping of them that the kernel takes. */
function checkRanges(ranges: readonly SubidRange[], keepId: boolean): string {
	for (const { first, size } of ranges) {
		must(Number.isInteger(first) && Number.isInteger(size), () => `the range ${first}, ${size}`);
		must(first >= 0 && size > 0 && first + size <= 2 ** 32 - 1, () => `the range ${first}, ${size}`);
	}
	const extents = rootlessExtents({ own: 1000, ranges }, keepId ? 1000 : 0);
	// The only reason is that there are too many of them.
	const mapping = attempt(["ERR_USERNS_INVALID_MAPPING"], () => Mapping.from({ uidMappings: extents }));
	if ("error" in mapping) {
		must(extents.length > 100, () => mapping.error.message);
		return skeleton(mapping.error);
	}
	checkAll(mapping.value);
	return about(extents.length);
}

const files: Target = {
	name: "subid-file",
	words: [
		"alice:",
		"1000:",
		"100000:65536",
		"0x10",
		"010",
		"18446744073709551615",
		"+",
		"#",
		"\n",
		":",
		"\r",
		"\t",
		"\0",
		"-",
	],
	seeds: [
		"alice:100000:65536\n",
		"bob:1:1\n1000:0x186a0:010\nalice:100000:65536:x\n",
		"alice:4294967294:18446744073709551615\n",
	],
	run(bytes) {
		const lines = readSubidLines(toText(bytes));
		for (const line of lines) {
			must(
				(line.range === undefined) !== (line.flaw === undefined),
				() => `line ${line.number}: ${line.flaw}`,
			);
		}
		const ranges = lines.flatMap(({ owner, range }) => (owner === "alice" && range ? [range] : []));
		return checkRanges(ranges, bytes.length % 2 === 0);
	},
	growing: {
		lines: (n) => Array.from({ length: n }, (_, i) => `alice:${2 * i}:1\n`).join(""),
		digits: (n) => `alice:${"0".repeat(n)}:${"7".repeat(n)}`,
		blanks: (n) => `alice:${" ".repeat(n)}x:1`,
	},
};

const getsubids: Target = {
	name: "getsubids",
	words: ["0: alice 100000 65536\n", "1: ", " 1000", " ", "\n", "18446744073709551615"],
	seeds: ["0: alice 100000 65536\n1: alice 200000 65536\n", "0: a b 1 2 3 4\n", "Error fetching ranges\n"],
	run(bytes) {
		return checkRanges(parseGetsubids(toText(bytes)), bytes.length % 2 === 0);
	},
	growing: {
		lines: (n) => Array.from({ length: n }, (_, i) => `${i}: a ${2 * i} 1\n`).join(""),
		numbers: (n) => `0: a${" 1".repeat(n)} x`,
		digits: (n) => ` ${"1".repeat(n)} ${"1".repeat(n)}x`,
	},
};

/** passwd(5) and nsswitch.conf(5) in one target, because both may contain any text. */
const users: Target = {
	name: "passwd",
	words: ["root:x:0:0:root:/root:/bin/bash\n", "subid:", "files", "sss", "#", ":", "\n", " ", "4294967295"],
	seeds: [
		"root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n",
		"passwd: files\nsubid: sss # files\n",
	],
	run(bytes) {
		const text = toText(bytes);
		const entries = parseEntries(text);
		for (const { name, uid, gid } of entries) {
			must(
				name !== "" && name !== undefined && !/[:\n]/.test(name),
				() => `the name ${JSON.stringify(name)}`,
			);
			must(Number.isInteger(uid) && uid >= 0 && Number.isInteger(gid) && gid >= 0, () => `the uid ${uid}`);
		}
		return `${about(entries.length)} ${subidService(text) === undefined}`;
	},
	growing: {
		lines: (n) => "a:x:1:1:\n".repeat(n),
		empty: (n) => "\n".repeat(n),
		blanks: (n) => `${" ".repeat(n)}\n`.repeat(3),
	},
};

export const subidTargets: readonly Target[] = [files, getsubids, users];
