import assert from "node:assert/strict";
import {
	type IdMap,
	Mapping,
	type MappingContext,
	type MappingSyntax,
	mappingSyntaxes,
} from "../../src/index.ts";
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
		[from({}), "the mapping maps nothing: neither uidMappings nor gidMappings has an extent", LEAST],
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
			"The options are: user, keepId.",
		],
		[
			() => Mapping.rootless({ keepId: "yes" as unknown as boolean }),
			'Mapping.rootless: keepId must be a boolean, not "yes"',
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
			"The options are: parent, rootless, container, user.",
		],
	]);
});

/** The hint of every syntax error without a better one. */
const HINTS: Record<MappingSyntax, string> = {
	colon:
		'Write "containerID:hostID:size", with "u:" or "g:" before it for one kind only, and "," between extents: 0:2100000000:65536.',
	proc: NUMBERS,
	"x-mount.idmap":
		'Write extents as "disk:visible:size", with "u:" or "g:" before it for one kind, separated by spaces.',
	"mount-idmapped":
		'Write every extent as "b:disk:visible:size", with u or g instead of b for one kind only.',
	lxc: 'Write every extent as "b:container:host:size", with u or g instead of b for one kind only.',
	podman:
		"Write --uidmap=[+ug]container:[@]from[:amount] and --gidmap=… likewise; a value without an option name is a --uidmap.",
	"podman-idmap":
		'Write "idmap=uids=disk-visible-length#…;gids=…", or "idmap" alone for the container\'s own mapping.',
	incus:
		'Write lines "both HOST[-END] CONTAINER[-END]", the host first; uid or gid instead of both for one kind.',
	oci: 'Write {"uidMappings": [{"containerID": 0, "hostID": 2100000000, "size": 65536}], "gidMappings": […]}.',
	subid: 'Write lines "user:first:count", the user by name or number; see subuid(5).',
};

const CONTAINER = "u:0:100000:1000,u:1000:500000:10,g:0:200000:1000";

type Text = [
	syntax: MappingSyntax,
	text: string | string[],
	message: string,
	hint?: string | undefined,
	context?: MappingContext,
];

const end = "found the end of the text";

const texts: Text[] = [
	["colon", "", `column 1 (extent 1): expected containerID, a decimal number, ${end}`],
	["colon", "0", `column 2 (extent 1): expected ":" after containerID, ${end}`],
	["colon", "0:1", `column 4 (extent 1): expected ":" after hostID, ${end}`],
	["colon", "0:", `column 3 (extent 1): expected hostID, a decimal number, ${end}`],
	["colon", "0:1:", `column 5 (extent 1): expected size, a decimal number, ${end}`],
	["colon", "0:1:1;", 'column 6 (extent 1): expected "," or the end after size, found ";"'],
	["colon", "0:1:1,5:07:1", 'column 9 (extent 2): expected hostID without a leading zero, found "07:1"'],
	["colon", "x:y;0:1:1", 'column 1 (extent 1): expected containerID, a decimal number, found "x:y"'],
	["colon", "0:1:1\n", 'column 6 (extent 1): expected "," or the end after size, found "\\n"'],
	[
		"colon",
		"0:4294967296:1",
		'column 3 (extent 1): expected hostID in 32 bits, at most 4294967295, found "4294967296:1"',
	],
	// The found text is cut, so that a long text is not printed whole.
	[
		"colon",
		`0:1:1${"x".repeat(80)}`,
		`column 6 (extent 1): expected "," or the end after size, found "${"x".repeat(61)}"`,
	],
	["colon", "0:1:1,3:4:0", "column 7 (extent 2: 3:4:0): size must be at least 1", NUMBERS],
	...(
		[
			["0 1", "uid"],
			[["0 1", ""], "uid"],
			[["", "0 1"], "gid"],
			["0 1\n\n0 1 1", "uid"],
			["0 1 1\n\n0 1", "gid"],
		] as [string | string[], string][]
	).map(
		([text, kind]): Text => [
			"proc",
			text,
			`${kind}_map line 1: expected three numbers "containerID hostID size", found "0 1"`,
		],
	),
	["x-mount.idmap", "0:1:1junk", 'column 6 (extent 1): expected a blank or the end after size, found "junk"'],
	["x-mount.idmap", "0:1:1 5:6", `column 10 (extent 2): expected ":" after hostID, ${end}`],
	[
		"x-mount.idmap",
		"/proc/1/ns/user",
		"column 1 (extent 1): the text is the path of a user namespace, not a mapping",
		"Read its mapping with UserNamespace.open(path).",
	],
	["mount-idmapped", "b:0:1:1 0:1:1", 'column 9 (extent 2): expected "b:", "u:" or "g:", found "0:1:1"'],
	["mount-idmapped", "b:0:1:1x", 'column 8 (extent 1): expected a blank or the end after size, found "x"'],
	["lxc", "b:0:1:1x", 'column 8 (extent 1): expected a blank or the end after size, found "x"'],
	["podman", "+ug", `column 4 (extent 1): expected the container ID, a decimal number, ${end}`],
	["podman", "0", `column 2 (extent 1): expected ":" after the container ID, ${end}`],
	["podman", "0:@", `column 4 (extent 1): expected the ID that it is mapped from, a decimal number, ${end}`],
	["podman", "0:1:", `column 5 (extent 1): expected the amount, a decimal number, ${end}`],
	["podman", "0:1:1;", 'column 6 (extent 1): expected ":" after the amount, found ";"'],
	["podman", "0:1:1:5", `column 8 (extent 2): expected ":" after the container ID, ${end}`],
	["podman", "0:1:1 5:6:1 7", `column 2 (extent 3): expected ":" after the container ID, ${end}`],
	[
		"podman",
		"x--uidmap=0:1:1",
		'column 1 (extent 1): expected the container ID, a decimal number, found "x--uidmap=0:1:1"',
	],
	[
		"podman",
		"--uidmap=0:4294967295",
		'column 1 (extent 1: 0:4294967295:1): hostID 4294967295 stands for "no ID" and cannot be mapped',
		LAST,
	],
	["podman-idmap", "map", 'column 1 (extent 1): expected idmap or ridmap, found "map"'],
	["podman-idmap", "idmap:", 'column 6 (extent 1): expected "=" after idmap, found ":"'],
	["podman-idmap", "idmap=x", 'column 7 (extent 1): expected "uids=" or "gids=", found "x"'],
	["podman-idmap", "idmap=uids=@", `column 13 (extent 1): expected the ID on disk, a decimal number, ${end}`],
	["podman-idmap", "idmap=uids=0", `column 13 (extent 1): expected "-" after the ID on disk, ${end}`],
	[
		"podman-idmap",
		"idmap=uids=0-",
		`column 14 (extent 1): expected the visible ID, a decimal number, ${end}`,
	],
	["podman-idmap", "idmap=uids=0-1", `column 15 (extent 1): expected "-" after the visible ID, ${end}`],
	["podman-idmap", "idmap=uids=0-1-", `column 16 (extent 1): expected the length, a decimal number, ${end}`],
	["podman-idmap", "idmap=uids=0-1-1,", 'column 17 (extent 2): expected ";" after the extents, found ","'],
	["podman-idmap", "idmap=uids=0-1-1;uids=1-2-1", "column 18 (extent 2): uids= occurs twice"],
	[
		"podman-idmap",
		"idmap=uids=0-1-1",
		"column 1 (extent 2): the gids come from the container's mapping, which was not given",
		"Give the container's mapping, { container: … }, or both uids and gids.",
	],
	[
		"podman-idmap",
		"idmap=uids=@0-1-1",
		"column 12 (extent 1): @ refers to the container's mapping, which was not given",
	],
	[
		"podman-idmap",
		"idmap=gids=@0-5000-2",
		"column 12 (extent 1): the container's mapping has no gid 5000",
		undefined,
		{ container: CONTAINER },
	],
	[
		"podman-idmap",
		"idmap=uids=@0-999-2",
		"column 12 (extent 1): the uids 999–1000 span more than one extent of the container's mapping",
		"Write one entry for each of the container's extents.",
		{ container: CONTAINER },
	],
	["incus", "all 1 1", 'column 1 (extent 1): expected both, uid or gid, found "all 1 1"'],
	["incus", "both", `column 5 (extent 1): expected a blank after both, ${end}`],
	["incus", "gid x", 'column 5 (extent 1): expected host ID, a decimal number, found "x"'],
	["incus", "uid 1-", `column 7 (extent 1): expected the last host ID, a decimal number, ${end}`],
	["incus", "uid 1;2", 'column 6 (extent 1): expected a blank after the host\'s IDs, found ";"'],
	["incus", "uid 1 ", `column 7 (extent 1): expected container ID, a decimal number, ${end}`],
	["incus", "uid 1-2 3-", `column 11 (extent 1): expected the last container ID, a decimal number, ${end}`],
	["incus", "uid 5-4 3-2", "column 5 (extent 1): the range 5-4 ends before it starts"],
	["incus", "uid 5-6 3-5", "column 9 (extent 1): 2 IDs of the host, but 3 of the container"],
	["incus", "uid 1 2\n\nuid 3 4 5", 'line 3, column 9 (extent 2): expected the end of the line, found "5"'],
	[
		"incus",
		"uid 4294967295 0",
		'column 1 (extent 1: 0:4294967295:1): hostID 4294967295 stands for "no ID" and cannot be mapped',
		LAST,
	],
	...["[]", "null", "5"].map(
		(text): Text => ["oci", text, "expected an object with uidMappings and gidMappings"],
	),
	[
		"oci",
		'{"uidMappings": [], "gidMappings": []}',
		"uidMappings must be an array with at least one extent, because the specification requires both kinds",
	],
	[
		"oci",
		'{"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}], "gidMappings": [{"containerID": 0}]}',
		"gidMappings[0]: hostID must be a number, not left out",
		WHOLE,
	],
	["subid", ":1:1", 'column 1 (extent 1): expected the user\'s name or number, found ":1:1"'],
	["subid", "alpha\n", 'column 6 (extent 1): expected ":" after the user, found "\\n"'],
	["subid", "alpha:", `column 7 (extent 1): expected the first ID, a decimal number, ${end}`],
	["subid", "alpha:1", `column 8 (extent 1): expected ":" after the first ID, ${end}`],
	["subid", "alpha:1:", `column 9 (extent 1): expected the count, a decimal number, ${end}`],
	["subid", "alpha:1:1:", 'column 10 (extent 1): expected the end of the line, found ":"'],
	[
		"subid",
		"alpha:1:1\n\nalpha:9:9\nbeta:5:1",
		'line 4, column 1 (extent 3): the lines are of two users, "alpha" and "beta"',
		'Name the user whose lines apply: { user: { name: "alice" } }.',
	],
	[
		"subid",
		"alpha:1:1\nalpha:4294967295:1",
		'line 2, column 1 (extent 2: 1:4294967295:1): hostID 4294967295 stands for "no ID" and cannot be mapped',
		LAST,
	],
];

test("a text that cannot be read is an error with the position, the expected and the found text, and the form", () => {
	for (const [syntax, text, message, hint, context] of texts) {
		const position = /^(?:line|column) /.test(message)
			? `${syntax} text, `
			: syntax === "oci"
				? "oci text: "
				: "";
		check("ERR_USERNS_INVALID_MAPPING", [
			[() => Mapping.parse(text, syntax, context), position + message, hint ?? HINTS[syntax]],
		]);
	}
	assert.throws(
		() => Mapping.parse(["0:1", "5"]),
		/^UsernsError: no syntax fits "0:1 5": colon text, column 4 \(extent 1\): expected ":" after hostID, found ","$/,
	);
	assert.throws(() => Mapping.parse("{", "oci"), {
		message: /^oci text: not valid JSON: ./,
		hint: HINTS.oci,
	});
});

test("an error in podman's options has its message", () => {
	const parse = (text: string, context?: MappingContext) => () => Mapping.parse(text, "podman", context);
	const lines = (count: number) => Array.from({ length: count }, (_, i) => `+${i}:${i}`).join(" ");
	assert.equal(Mapping.parse(lines(1000), "podman").id, "0:0:1000");
	check("ERR_USERNS_INVALID_MAPPING", [
		[parse("--uidmap"), "podman text: the last option has no value", HINTS.podman],
		[parse("--uidmap --gidmap=0:1:1"), 'podman text: expected a value, found "--gidmap=0:1:1"', HINTS.podman],
		[
			parse("--uidmap=0:1:1 --gidmap=u5:6:2"),
			"podman text: the entry 5:6:2 of --gidmap has the flag of the other kind of ID",
			"Move the entry to --uidmap.",
		],
		[
			parse("5:@1000:1"),
			"podman text: @1000 is a host ID, and the mapping that delegates it was not given",
			"Give the parent's mapping: { parent: … }.",
		],
		[
			parse("u5:@999:2", { parent: "0:1000:1" }),
			"podman text: some of the 2 uids from @999 on are not delegated to the user",
			'See "podman unshare cat /proc/self/uid_map" for the delegated IDs.',
		],
		[
			parse(lines(1001)),
			"podman text: more than 1000 entries with +",
			"Write the resulting extents instead.",
		],
	]);
});

test("a mapping that a syntax cannot express has its message", () => {
	const print = (mapping: string, syntax: MappingSyntax, context?: MappingContext) => () =>
		Mapping.from(mapping).toString(syntax, context);
	const user = { name: "alpha" };
	const both = "Map the other kind too, or print the mapping as colon.";
	const subid =
		"the subid syntax cannot express this mapping: its container IDs must start at 0, without a gap, and both kinds must have the same extents";
	const whose = "the subid syntax needs the user of the lines";
	check("ERR_USERNS_INVALID_MAPPING", [
		...["u:0:1:1", "g:0:1:1"].flatMap((mapping): Refusal[] => [
			[
				print(mapping, "oci"),
				"the oci syntax cannot express a mapping of one kind: the specification requires both",
				both,
			],
			[
				print(mapping, "podman-idmap"),
				"the podman-idmap syntax cannot express a mapping of one kind: podman takes the other kind from the container's mapping",
				both,
			],
		]),
		...["1:1:1", "0:1:1,2:5:1", "u:0:1:1,g:0:2:1"].map(
			(mapping): Refusal => [print(mapping, "subid", { user }), subid, "Print the mapping as colon."],
		),
		...[undefined, {}, { name: "" }, { name: "a:b" }, { name: "a\nb" }].map(
			(someone): Refusal => [
				print("0:1:1", "subid", { user: someone }),
				whose,
				'Give the user: { user: { name: "alice" } }.',
			],
		),
	]);
});
