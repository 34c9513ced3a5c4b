import assert from "node:assert/strict";
import { type IdMap, Mapping, mappingSyntaxes } from "../../src/index.ts";
import { test } from "../support/test.ts";

// The whole message as a user reads it: what was wrong, where, and what to do. The full text shows if a part is lost.

type Refusal = [make: () => unknown, message: string, hint: string];

function check(code: string, refusals: readonly Refusal[]): void {
	for (const [make, message, hint] of refusals) assert.throws(make, { code, message, hint }, String(make));
}

const from = (input: unknown) => () => Mapping.from(input as string);
const uids = (...extents: unknown[]) => from({ uidMappings: extents });
const gids = (...extents: unknown[]) => from({ gidMappings: extents });
const extent = (containerID: unknown, hostID: unknown, size: unknown) =>
	({ containerID, hostID, size }) as IdMap;

const NUMBERS =
	"Give every extent a containerID, a hostID and a size of at least 1, all whole numbers; the last ID is 4294967294.";
const WHOLE = "Give every extent containerID, hostID and size as whole numbers.";
const EXTENT = "Write an extent as {containerID: 0, hostID: 2100000000, size: 65536}.";
const ONCE = "Give every ID at most once in each column.";
const LEAST = "Give at least one extent, such as 0:2100000000:65536.";
const LAST = "The largest ID that can be mapped is 4294967294.";
const NOTHING = "Correct the argument that the message names. Nothing was changed.";

test("a mapping that the kernel would refuse, or change without an error, has its message", () =>
	check("ERR_USERNS_INVALID_MAPPING", [
		[
			from(null),
			"a mapping must be a Mapping, an object {uidMappings, gidMappings} or a string, not null",
			'Write it as a string, such as "0:2100000000:65536".',
		],
		[
			from({ uidMapping: [] }),
			'a mapping object must have the key uidMappings or gidMappings, but has the key "uidMapping"',
			'Give uidMappings and gidMappings as lists of extents, or a text, such as "0:2100000000:65536".',
		],
		[
			from({ uidMappings: null }),
			"the mapping maps nothing: neither uidMappings nor gidMappings has an extent",
			LEAST,
		],
		[
			from({ gidMappings: "0:1:1" }),
			'gidMappings must be an array of extents, not "0:1:1"',
			"Write it as [{containerID: 0, hostID: 2100000000, size: 65536}].",
		],
		[uids(null), "uidMappings[0] must be an object {containerID, hostID, size}, not null", EXTENT],
		[gids(extent(0, 1, 1), 5), "gidMappings[1] must be an object {containerID, hostID, size}, not 5", EXTENT],
		[uids(extent("0", 1, 1)), 'uidMappings[0]: containerID must be a number, not "0"', WHOLE],
		[uids(extent(0, undefined, 1)), "uidMappings[0]: hostID must be a number, not left out", WHOLE],
		[uids(extent(0, 1, 1.5)), "uidMappings[0]: size must be a whole number, not 1.5", NUMBERS],
		[uids(extent(0, -1, 1)), "uidMappings[0]: hostID must not be negative, but is -1", NUMBERS],
		[
			uids(extent(2 ** 32, 0, 1)),
			"uidMappings[0]: containerID must fit in 32 bits, but is 4294967296",
			"The largest ID that can be mapped is 4294967294; the kernel would truncate this number.",
		],
		[uids(extent(3, 4, 0)), "uidMappings[0] (3:4:0): size must be at least 1", NUMBERS],
		[
			gids(extent(0, 2 ** 32 - 1, 1)),
			'gidMappings[0] (0:4294967295:1): hostID 4294967295 stands for "no ID" and cannot be mapped',
			LAST,
		],
		[
			uids(extent(4294967290, 0, 6)),
			"uidMappings[0] (4294967290:0:6): the last containerID is 4294967295, above 4294967294",
			"Reduce size to at most 5.",
		],
		[
			uids(extent(0, 4294967294, 3)),
			"uidMappings[0] (0:4294967294:3): the last hostID is 4294967296, above 4294967294",
			"Reduce size to at most 1.",
		],
		[
			uids(extent(4294967290, 4294967291, 5)),
			"uidMappings[0] (4294967290:4294967291:5): the last hostID is 4294967295, above 4294967294",
			"Reduce size to at most 4.",
		],
		[
			uids(extent(5, 100, 5), extent(0, 200, 8)),
			"uidMappings: the extents 0:200:8 and 5:100:5 overlap: both have containerID 5–7",
			ONCE,
		],
		[
			from("u:0:1:1,g:0:100:5,g:10:104:1"),
			"colon text: gidMappings: the extents 0:100:5 and 10:104:1 overlap: both have hostID 104",
			ONCE,
		],
		[
			uids(...Array.from({ length: 341 }, (_, i) => extent(i * 2, i * 2, 1))),
			"uidMappings: 341 extents, but the kernel accepts at most 340",
			"Use fewer, longer ranges. Extents that are adjacent in both columns are already merged.",
		],
		[
			gids(...Array.from({ length: 340 }, (_, i) => extent(1000 + i * 2, 100000 + i * 2, 1))),
			"gidMappings: 340 extents make 4759 bytes of text, but the kernel accepts at most 4095 in one write",
			"Use fewer extents, or smaller numbers.",
		],
		[
			() => Mapping.fromProc("0 1 1", "0 1 1\n5 x 1"),
			'gid_map line 2: expected three numbers "containerID hostID size", found "5 x 1"',
			NUMBERS,
		],
		[() => Mapping.fromProc("0 1 1\n5 6 0", ""), "uid_map line 2 (5:6:0): size must be at least 1", NUMBERS],
		[
			() => Mapping.fromProc("", "0 1 5\n4 9 1"),
			"gidMappings: the extents 0:1:5 and 4:9:1 overlap: both have containerID 4",
			ONCE,
		],
		[
			() => Mapping.fromProc("0 1 5\n4 9 1", ""),
			"uidMappings: the extents 0:1:5 and 4:9:1 overlap: both have containerID 4",
			ONCE,
		],
	]));

test("each method's refusal has its message", () => {
	const mapping = Mapping.from("0:1:5");
	const long = (offset: number) => ({
		uidMappings: Array.from({ length: 200 }, (_, i) => extent(offset + i * 2, offset + i * 2, 1)),
	});
	const tooLong = Mapping.from(long(0)).union(long(1000));
	const groups = Mapping.fromProc("", tooLong.procText("uid"));
	const fewer = "Use fewer, longer ranges. Extents that are adjacent in both columns are already merged.";
	check("ERR_USERNS_INVALID_MAPPING", [
		[
			() => mapping.union("u:0:2:1,g:0:1:5"),
			"the union has a conflict: uidMappings: the extents 0:1:5 and 0:2:1 overlap: both have containerID 0",
			"Subtract one mapping from the other first.",
		],
		[
			() => mapping.union("u:0:1:5,g:4:9:1"),
			"the union has a conflict: gidMappings: the extents 0:1:5 and 4:9:1 overlap: both have containerID 4",
			"Subtract one mapping from the other first.",
		],
		[() => tooLong.fit(), "uidMappings: 400 extents, but the kernel accepts at most 340", fewer],
		[() => groups.fit(), "gidMappings: 400 extents, but the kernel accepts at most 340", fewer],
		[() => mapping.punch(-1, 1), "Mapping.punch: containerID must not be negative, but is -1", NUMBERS],
		[
			() => Mapping.shift({ from: 0, to: 4294967290, size: 6 }),
			"Mapping.shift {from, to, size} as an extent (0:4294967290:6): the last hostID is 4294967295, above 4294967294",
			"Reduce size to at most 5.",
		],
		[
			() => Mapping.shift(undefined as never),
			"Mapping.shift {from, to, size} as an extent: containerID must be a number, not left out",
			WHOLE,
		],
	]);
	check("ERR_USERNS_INVALID_ARGUMENT", [
		[
			() => mapping.punch(1, 1, "both" as "uid"),
			'Mapping.punch: the kind must be "uid" or "gid", not "both"',
			NOTHING,
		],
		[() => mapping.uidToHost(-1), "an ID must be a whole number from 0 to 4294967295, not -1", NOTHING],
		[
			() => Mapping.identity({ form: 5 } as object),
			'Mapping.identity: unknown option "form"',
			"The options are: from, size.",
		],
		[
			() => Mapping.shift({ from: 0, to: 1, size: 1, x: 1 } as never),
			'Mapping.shift: unknown option "x"',
			"The options are: from, to, size.",
		],
		[
			() => Mapping.rootless({ keep: true } as object),
			'Mapping.rootless: unknown option "keep"',
			"The options are: user, keepId, size.",
		],
		[
			() => Mapping.rootless({ keepId: "yes" as unknown as boolean }),
			'Mapping.rootless: keepId must be a boolean or an object {uid, gid}, not "yes"',
			NOTHING,
		],
		...[[], [5], ["0:1:1", 5], undefined].map(
			(text): Refusal => [
				() => Mapping.parse(text as string[]),
				`a mapping text must be a string or an array of strings, not ${text ? "an array" : "undefined"}`,
				NOTHING,
			],
		),
		[
			() => mapping.toString("ini" as "oci"),
			'unknown mapping syntax "ini"',
			`The syntaxes are: ${Object.keys(mappingSyntaxes).join(", ")}.`,
		],
		[
			() => Mapping.parse("0:1:1", ["colon"] as unknown as "colon"),
			"unknown mapping syntax an array",
			`The syntaxes are: ${Object.keys(mappingSyntaxes).join(", ")}.`,
		],
		[
			() => Mapping.parse("0:1:1", "colon", { user: {}, uid: 5 } as object),
			'the context of a mapping text: unknown option "uid"',
			"The options are: parent, rootless, container, user, skipOtherLines, names.",
		],
	]);
});
