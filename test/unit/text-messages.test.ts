import assert from "node:assert/strict";
import { Mapping, type MappingContext, type MappingSyntax } from "../../src/index.ts";
import { test } from "../support/test.ts";

// The whole message about a text, as in messages.test.ts.

type Refusal = [make: () => unknown, message: string, hint: string];

function check(code: string, refusals: readonly Refusal[]): void {
	for (const [make, message, hint] of refusals) assert.throws(make, { code, message, hint }, String(make));
}

const NUMBERS =
	"Give every extent a containerID, a hostID and a size of at least 1, all whole numbers; the last ID is 4294967294.";
const WHOLE = "Give every extent containerID, hostID and size as whole numbers.";
const LAST = "The largest ID that can be mapped is 4294967294.";

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
	newuidmap:
		'Write "inside outside count" any number of times on one line, or one line for each of "newuidmap PID …" and "newgidmap PID …".',
	"map-users":
		"Write --map-users=inside:outside:count and --map-groups=inside:outside:count, separated by blanks; each option may occur several times.",
	"lxc.conf":
		'Write lines "lxc.idmap = u CONTAINER HOST COUNT", with g instead of u for group IDs. For a file with other settings, set { skipOtherLines: true }.',
	quadlet:
		"Write lines UIDMap=[+ug]container:[@]from[:amount] and GIDMap=… likewise. For a file with other lines, set { skipOtherLines: true }.",
	"podman-inspect": 'Write {"UidMap": ["0:2100000000:65536"], "GidMap": […]}.',
	"podman-info":
		'Write {"uidmap": [{"container_id": 0, "host_id": 2100000000, "size": 65536}], "gidmap": […]}.',
	cri: 'Write {"uids": [{"container_id": 0, "host_id": 2100000000, "length": 65536}], "gids": […]}.',
	"incus-json":
		'Write [{"Isuid": true, "Isgid": true, "Hostid": 2100000000, "Nsid": 0, "Maprange": 65536}, …].',
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
	...[
		["[]", "an array"],
		["null", "null"],
		["5", "5"],
	].map(
		([text = "", found]): Text => [
			"oci",
			text,
			`expected an object with uidMappings and gidMappings, found ${found}`,
		],
	),
	[
		"oci",
		'{"uidMaps": []}',
		'expected an object with uidMappings and gidMappings, found one with the key "uidMaps"',
		"Give the object that has the lists: uidMappings and gidMappings (linux of an OCI config.json), UidMap and GidMap (HostConfig.IDMappings of podman inspect), uidmap and gidmap (host.idMappings of podman info), uids and gids (userns_options of the CRI).",
	],
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
	["map-users", "0:1:1", 'column 1 (extent 1): expected --map-users or --map-groups, found "0:1:1"'],
	["map-users", "--map-users", `column 12 (extent 1): expected "=" or a blank after --map-users, ${end}`],
	[
		"map-users",
		"--map-users=auto",
		'column 13 (extent 1): expected containerID, a decimal number, found "auto"',
	],
	["map-users", "--map-users=1:2,3", 'column 16 (extent 1): expected ":" after hostID, found ","'],
	["map-users", "--map-users=1,2:3", 'column 16 (extent 1): expected "," after containerID, found ":3"'],
	[
		"map-users",
		"--map-users=1:2:3x",
		'column 18 (extent 1): expected a blank or the end after size, found "x"',
	],
	[
		"mount-idmapped",
		"--map-mountb:0:1:1",
		'column 12 (extent 1): expected "=" after --map-mount, found "b:0:1:1"',
	],
	["lxc", "-m=b:0:1:1", 'column 3 (extent 1): expected "b:", "u:" or "g:", found "=b:0:1:1"'],
	["lxc.conf", "", `column 1 (extent 1): expected a line lxc.idmap, ${end}`],
	[
		"lxc.conf",
		"lxc.idmap u 0 1 1",
		'column 11 (extent 1): expected "=" or ":" after lxc.idmap, found "u 0 1 1"',
	],
	["lxc.conf", "lxc.idmap = b 0 1 1", 'column 13 (extent 1): expected u or g, found "b 0 1 1"'],
	["lxc.conf", "lxc.idmap = u0 1 1", 'column 14 (extent 1): expected a blank after u, found "0 1 1"'],
	[
		"lxc.conf",
		"lxc.idmap = u 0:1:1",
		'column 16 (extent 1): expected a blank after containerID, found ":1:1"',
	],
	[
		"lxc.conf",
		"lxc.idmap = u 0 1 1\nlxc.idmap = g 0 1 1 1",
		'line 2, column 21 (extent 3): expected the end of the line, found "1"',
	],
	[
		"lxc.conf",
		"lxc.idmap = u 0 1 1\narch: amd64",
		'line 2, column 1 (extent 2): expected lxc.idmap, found "arch: amd64"',
	],
	["quadlet", "Image=x", 'column 1 (extent 1): expected UIDMap= or GIDMap=, found "Image=x"'],
	["quadlet", "\n", `line 2, column 1 (extent 1): expected a line UIDMap= or GIDMap=, ${end}`],
	["quadlet", "UIDMap 0:1:1", 'column 8 (extent 1): expected "=" after UIDMap, found "0:1:1"'],
	["quadlet", "UIDMap=0:1:1 x", 'column 14 (extent 1): expected the end of the line, found "x"'],
	["newuidmap", "0 1", `column 4 (extent 1): expected a blank after hostID, ${end}`],
	["newuidmap", "0 1 1 2", `column 8 (extent 2): expected a blank after containerID, ${end}`],
	[
		"newuidmap",
		"0 1 1\n2 3 1",
		'line 2, column 1 (extent 2): expected the end after one line, found "2 3 1"',
	],
	["newuidmap", "\n0 1 1", 'column 1 (extent 1): expected containerID, a decimal number, found "\\n"'],
	["newuidmap", ["0 1 1", "2 3 1"], 'expected one word, found "0 1 1"'],
	["newuidmap", "newuidmap 9 0 1", `column 16 (extent 1): expected a blank after hostID, ${end}`],
	["newuidmap", "newuidmap x 0 1 1", 'column 11 (extent 1): expected the process, found "x 0 1 1"'],
	[
		"newuidmap",
		"newuidmap 7 0 1 1\nnewuidmap 7 1 2 1",
		"line 2, column 1 (extent 2): newuidmap occurs twice",
	],
	[
		"newuidmap",
		"newuidmap 7 0 1 1\n0 1 1",
		'line 2, column 1 (extent 2): expected newuidmap or newgidmap, found "0 1 1"',
	],
	["podman-inspect", '{"UidMap": {}}', "UidMap must be an array, not an object"],
	["podman-inspect", '{"UidMap": [0]}', "UidMap[0] must be a text, not 0"],
	[
		"podman-inspect",
		'{"UidMap": ["0:1:1", "5:6"]}',
		`column 4 (extent 2): expected ":" after hostID, ${end}`,
	],
	["podman-inspect", '{"UidMap": ["0:1:1 "]}', 'column 6 (extent 1): expected the end after size, found " "'],
	[
		"podman-info",
		'{"uidmap": [{"container_id": 0, "host_id": 1, "length": 1}]}',
		"uidmap[0]: size must be a number, not left out",
		"Give every extent container_id, host_id and size as whole numbers.",
	],
	["cri", '{"uids": [{"host_id": 1, "length": 0}]}', "uids[0] (0:1:0): size must be at least 1", NUMBERS],
	[
		"cri",
		'{"uids": [{"containerID": 5, "host_id": 1, "length": 1}]}',
		'uids[0] has the key "containerID"',
		"The keys are: container_id, host_id, length.",
	],
	[
		"cri",
		'{"uids": [{"length": 1}]}',
		"uids[0]: host_id must be a number, not left out",
		"Give every extent container_id, host_id and length as whole numbers.",
	],
	[
		"cri",
		'{"gids": [{"hostId": "1", "length": 1}]}',
		'gids[0]: hostId must be a number, not "1"',
		"Give every extent containerId, hostId and length as whole numbers.",
	],
	["incus-json", "{}", "expected an array of extents, found an object"],
	...[
		'[{"Hostid":1,"Nsid":0,"Maprange":1}]',
		"[5]",
		'[{"Isuid":false,"Isgid":false}]',
		'[{"Isuid":1,"Isgid":true}]',
	].map((text): Text => ["incus-json", text, "entry 0 must have Isuid and Isgid, of which one is true"]),
	[
		"incus-json",
		'[{"Isuid":true,"Isgid":true,"Hostid":1,"Nsid":0}]',
		"entry 0: Maprange must be a number, not left out",
		"Give every extent Nsid, Hostid and Maprange as whole numbers.",
	],
	["subid", ":1:1", "column 1 (extent 1): the line has no user, so newuidmap ignores it"],
	["subid", "alpha\n", "column 1 (extent 1): the line has fewer than three fields, so newuidmap ignores it"],
	[
		"subid",
		"alpha::1:1",
		"column 1 (extent 1): the line has an empty field in place of the first ID, so newuidmap ignores it",
	],
	[
		"subid",
		"alpha:1:1\nalpha:1:",
		"line 2, column 1 (extent 2): the line has an empty field in place of the count, so newuidmap ignores it",
	],
	[
		"subid",
		"alpha:1-5",
		'column 1 (extent 1): the line has "1-5" in place of the first ID, a colon and the count, so newuidmap ignores it',
	],
	[
		"subid",
		"alpha:08:1",
		'column 1 (extent 1): the line has "08" in place of the first ID, so newuidmap ignores it',
	],
	[
		"subid",
		"alpha:1:-1",
		'column 1 (extent 1): the line has "-1" in place of the count, so newuidmap ignores it',
	],
	[
		"subid",
		"alpha:1:1 ",
		"column 1 (extent 1): the line has a blank after the count, so newuidmap ignores it",
	],
	[
		"subid",
		"alpha:1:1\r\n",
		"column 1 (extent 1): the line has a carriage return after the count, so newuidmap ignores it",
	],
	[
		"subid",
		"+:1:1",
		'column 1 (extent 1): the line begins with "+", as an entry of NIS does, so newuidmap ignores it',
	],
	[
		"subid",
		"alpha:1:1\n\nalpha:9:9\nbeta:5:1",
		'line 4, column 1 (extent 3): the lines are of two users, "alpha" and "beta"',
		'Name the user whose lines apply: { user: { name: "alice" } }.',
	],
	[
		"subid",
		"alpha:1:1\nalpha:4294967295:1",
		"line 2, column 1 (extent 2): the line has no ID up to 4294967294, so newuidmap ignores it",
	],
];

test("a text that cannot be read is an error with the position, the expected and the found text, and the form", () => {
	for (const [syntax, text, message, hint, context] of texts) {
		const position = /^(?:line|column) /.test(message)
			? `${syntax} text, `
			: syntax === "proc"
				? ""
				: `${syntax} text: `;
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
