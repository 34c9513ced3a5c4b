import assert from "node:assert/strict";
import { Mapping, type MappingContext, type MappingSyntax, UsernsError } from "../../src/index.ts";
import { test } from "../support/test.ts";

type Good = [syntax: MappingSyntax, text: string | string[], id: string, context?: MappingContext];

const ROOTLESS = "0:1000:1,1:100000:65536";
const CONTAINER = "u:0:100000:1000,u:1000:500000:10,g:0:200000:1000";

const good: Good[] = [
	["colon", "0:100000:65536", "0:100000:65536"],
	["colon", "u:0:1:1,g:0:2:1,b:5:5:1", "u:0:1:1,u:5:5:1,g:0:2:1,g:5:5:1"],
	["colon", ["0:1:1", "5:6:1"], "0:1:1,5:6:1"],
	["proc", "         0     100000      65536\n", "0:100000:65536"],
	["proc", "0 100000 10\r\n\t20\v30 5", "0:100000:10,20:30:5"],
	["proc", "0  100000 \t 10", "0:100000:10"],
	["proc", ["0 1 1\n", "0 2 1\n"], "u:0:1:1,g:0:2:1"],
	["proc", ["0 1 1\n", ""], "u:0:1:1"],
	["proc", "0 1 1\n\n0 2 1\n", "u:0:1:1,g:0:2:1"],
	["proc", "\n0 2 1\n", "g:0:2:1"],
	["x-mount.idmap", "0:100000:65536", "0:100000:65536"],
	["x-mount.idmap", "u:0:1:1 g:0:2:1", "u:0:1:1,g:0:2:1"],
	["x-mount.idmap", "u:0:1:1\\040g:0:2:1  b:7:7:1", "u:0:1:1,u:7:7:1,g:0:2:1,g:7:7:1"],
	["mount-idmapped", "b:1000:0:1", "1000:0:1"],
	["mount-idmapped", ["u:0:1:1", "g:0:2:1"], "u:0:1:1,g:0:2:1"],
	["lxc", "u:0:100000:65536 g:0:100000:65536", "0:100000:65536"],
	["podman", "0:100000:65536", "0:100000:65536"],
	["podman", "5:6", "5:6:1"],
	["podman", "0:1:1:5:6:2", "0:1:1,5:6:2"],
	["podman", "0:1:1:5:6", "0:1:1,5:6:1"],
	["podman", "0:1:1 9:9:0", "0:1:1"],
	["podman", "--uidmap=0:1:1 --gidmap=0:2:1", "u:0:1:1,g:0:2:1"],
	["podman", ["--uidmap", "0:1:1", "--gidmap", "0:2:1", "--gidmap=1:3:1"], "u:0:1:1,g:0:2:2"],
	["podman", "--gidmap=0:2:1", "0:2:1"],
	["podman", "--uidmap=0:1:10 --uidmap=u20:30:1", "u:0:1:10,u:20:30:1,g:0:1:10"],
	["podman", "--uidmap=u0:1:1 --uidmap=g0:2:1", "u:0:1:1,g:0:2:1"],
	// + removes conflicts in either column: 5 loses its ID, and so does 8, whose host ID is now that of 5.
	["podman", "0:100:10 +5:108:1", "0:100:5,5:108:1,6:106:2,9:109:1"],
	["podman", "0:1:1 5:@100000:2", "0:1:1,5:20:2", { parent: "50:99999:1,20:100000:10" }],
	["podman", "5:@1000:1", "5:0:1", { parent: ROOTLESS }],
	["podman", "5:@1000:2", "5:0:1,6:9:1", { parent: "0:1000:1,9:1001:1" }],
	// The first + of rootless podman: the rest is filled from 0 with the delegated IDs that are free.
	["podman", "+5:@1000:1", "0:1:5,5:0:1,6:6:65531", { parent: ROOTLESS, rootless: true }],
	["podman", "+5:@1000:1", "5:0:1", { parent: ROOTLESS, rootless: false }],
	["podman-idmap", "idmap=uids=0-1000-1#5-6-7;gids=0-2000-1", "u:0:1000:1,u:5:6:7,g:0:2000:1"],
	["podman-idmap", "idmap", CONTAINER, { container: CONTAINER }],
	["podman-idmap", "ridmap", CONTAINER, { container: CONTAINER }],
	["podman-idmap", "idmap=uids=0-1-1", "u:0:1:1,g:0:200000:1000", { container: CONTAINER }],
	[
		"podman-idmap",
		"idmap=uids=@1000-5-10;gids=1000-5-10",
		"u:1000:100005:10,g:1000:5:10",
		{ container: CONTAINER },
	],
	["newuidmap", "0 1000 1 1 1 999 1000 1001 64535", "0:1000:1,1:1:999,1000:1001:64535"],
	["newuidmap", ["0", "1000", "1"], "0:1000:1"],
	["newuidmap", "newuidmap 1234 0 1000 1\nnewgidmap fd:5 0 100 1\n", "u:0:1000:1,g:0:100:1"],
	["newuidmap", ["newuidmap $pid 0 1 1", "newgidmap $pid 0 2 1"], "u:0:1:1,g:0:2:1"],
	["newuidmap", "newgidmap 7 0 1 1", "g:0:1:1"],
	["x-mount.idmap", "X-mount.idmap=b:0:100000:1", "0:100000:1"],
	["map-users", "--map-users=1000:0:1 --map-groups=100:0:1", "u:1000:0:1,g:100:0:1"],
	["map-users", ["--map-users", "1000:0:1", "--map-users=1001:1:1"], "u:1000:0:2"],
	["map-users", "--map-users=0,1000,1 --map-groups 5,6,7", "u:1000:0:1,g:6:5:7"],
	["mount-idmapped", "--map-mount u:0:1000:1 --map-mount=g:0:1000:1 b:5:5:1", "0:1000:1,5:5:1"],
	["lxc", "-m u:0:1:1 -mg:0:2:1", "u:0:1:1,g:0:2:1"],
	[
		"lxc.conf",
		"lxc.idmap = u 0 100000 65536\nlxc.idmap=g 0 200000 65536",
		"u:0:100000:65536,g:0:200000:65536",
	],
	[
		"lxc.conf",
		[
			"u 0 100000 33",
			"g 0 100000 33",
			"u 33 33 1",
			"g 33 33 1",
			"u 34 100034 65502",
			"g 34 100034 65502",
		].map((value) => `lxc.idmap: ${value}`),
		"0:100000:33,33:33:1,34:100034:65502",
	],
	["lxc.conf", "# a comment\n\nlxc.id_map = u 0 1 1\r\n", "u:0:1:1"],
	["lxc.conf", "lxc.idmap = u 0 9 9\nlxc.idmap =\nlxc.idmap = u 0 1 1", "u:0:1:1"],
	[
		"lxc.conf",
		"arch: amd64\nlxc.idmaps: u 5 5 5\nlxc.idmap: u 0 1 1\n\n[before]\nlxc.idmap: u 0 7 7",
		"u:0:1:1",
		{ skipOtherLines: true },
	],
	["quadlet", "UIDMap=5000:0:1\nGIDMap=6000:0:1\n", "u:5000:0:1,g:6000:0:1"],
	["quadlet", "UIDMap=0:1:1000\n; a comment\nUIDMap = 1000:0", "0:1:1000,1000:0:1"],
	["quadlet", "UIDMap=0:9:9\nUIDMap=\nUIDMap=u0:1:1\nUIDMap=g0:2:1", "u:0:1:1,g:0:2:1"],
	["quadlet", "UIDMap=+5:@1000:1", "0:1:5,5:0:1,6:6:65531", { parent: ROOTLESS, rootless: true }],
	[
		"quadlet",
		"[Container]\nExec=echo \\\n  \\\nUIDMap=9:9:9\nUIDMap=0:1:1",
		"0:1:1",
		{ skipOtherLines: true },
	],
	[
		"podman-inspect",
		'{"UidMap":["0:1:1000","1000:0:1"],"GidMap":["0:1:1000"]}',
		"u:0:1:1000,u:1000:0:1,g:0:1:1000",
	],
	["podman-inspect", '{"UidMap":null,"GidMap":["0:1:1"],"Other":1}', "g:0:1:1"],
	[
		"podman-info",
		'{"gidmap":[{"container_id":0,"host_id":1000,"size":1}],"uidmap":[{"container_id":1,"host_id":100000,"size":9}]}',
		"u:1:100000:9,g:0:1000:1",
	],
	[
		"cri",
		'{"mode":"POD","uids":[{"container_id":0,"host_id":1,"length":2}],"gids":[{"host_id":5,"length":2}]}',
		"u:0:1:2,g:0:5:2",
	],
	["cri", '{"uids":[{"hostId":1,"length":2}]}', "u:0:1:2"],
	[
		"incus-json",
		'[{"Isuid":true,"Isgid":true,"Hostid":1000000,"Nsid":0,"Maprange":1000},{"Isuid":false,"Isgid":true,"Hostid":5,"Nsid":1000,"Maprange":1}]',
		"u:0:1000000:1000,g:0:1000000:1000,g:1000:5:1",
	],
	["incus", "both 100000 0", "0:100000:1"],
	["incus", "both 100000-165535 0-65535", "0:100000:65536"],
	["incus", "uid 1000 0\n\ngid 1001 1\n", "u:0:1000:1,g:1:1001:1"],
	[
		"oci",
		'{"uidMappings":[{"containerID":0,"hostID":1,"size":1}],"gidMappings":[{"containerID":0,"hostID":2,"size":1}],"x":1}',
		"u:0:1:1,g:0:2:1",
	],
	["subid", "alpha:100000:65536", "0:100000:65536"],
	["subid", "# a comment\nalpha:100000:10\n\nalpha:200000:5", "0:100000:10,10:200000:5"],
	["subid", "testuser::231072:65536\nalpha:100000:65536", "0:100000:65536", { user: { name: "alpha" } }],
	[
		"subid",
		"admin:100000:65536\n1001:4294836224:65536\n1089:4294770688:65536",
		"0:4294770688:65536",
		{ user: { uid: 1089 } },
	],
	[
		"subid",
		"alpha:100000:10\n1000:300000:3\nbeta:200000:5",
		"0:100000:10,10:300000:3",
		{ user: { name: "alpha", uid: 1000 } },
	],
	["subid", "beta::231072:65536\nalpha:100000:65536", "0:100000:65536", { user: { name: "alpha" } }],
	[
		"subid",
		"beta:100000:65536\n1001:4294836224:65536\n1089:4294770688:65536",
		"0:4294770688:65536",
		{ user: { uid: 1089 } },
	],
	["subid", "alpha:5:10\nalpha:10:10\nalpha:5:10", "0:5:15"],
	["subid", "alpha:5:0\nalpha:10:10", "0:10:10"],
	["subid", "alpha:0x10:010:comment", "0:16:8"],
	["subid", "alpha:4294967290:100", "0:4294967290:5"],
	["subid", "CORP\\jdoe:5:1\nj.doe@corp.example:7:1", "0:7:1", { user: { name: "j.doe@corp.example" } }],
	["subid", "CORP\\jdoe:5:1\nj.doe@corp.example:7:1", "0:5:1", { user: { name: "CORP\\jdoe" } }],
];

for (const [syntax, text, id, context] of good) {
	test(`${syntax} reads ${JSON.stringify(text)}`, () => {
		assert.equal(Mapping.parse(text, syntax, context).id, Mapping.from(id).id);
	});
}

const bad: [syntax: MappingSyntax, text: string | string[], message: RegExp, context?: MappingContext][] = [
	["colon", "", /colon text, column 1 \(extent 1\): expected containerID, a decimal number, found the end/],
	["colon", "0:1:1,", /column 7 \(extent 2\): expected containerID/],
	["colon", "0:1:1;5:6:1", /column 6 \(extent 1\): expected "," or the end/],
	[
		"colon",
		"0:1:1,0:5:1",
		/colon text: uidMappings: the extents 0:1:1 and 0:5:1 overlap: both have containerID 0/,
	],
	["colon", "0:01:1", /column 3 .*hostID without a leading zero/],
	["colon", "0:4294967296:1", /column 3 .*32 bits/],
	["colon", " 0:1:1", /column 1 /],
	["colon", "0:1:0", /column 1 \(extent 1: 0:1:0\): size must be at least 1/],
	["colon", "x:0:1:1", /column 1/],
	["proc", "0 1", /uid_map line 1: expected three numbers/],
	["proc", "0 1 1\n0x1 5 1", /uid_map line 2/],
	["proc", "0 1 1 1", /line 1/],
	["x-mount.idmap", "/proc/1/ns/user", /path of a user namespace/],
	["x-mount.idmap", "0:1:1junk", /column 6 .*expected a blank or the end/],
	["x-mount.idmap", "0:1:1,5:6:1", /column 6/],
	["x-mount.idmap", "", /column 1/],
	["mount-idmapped", "0:1:1", /column 1 .*expected "b:", "u:" or "g:"/],
	["mount-idmapped", "b:0:1:1x", /column 8/],
	["podman", "0", /column 2 .*expected ":" after the container ID/],
	["podman", "0:1:1:5", /column 8 .*expected ":" after the container ID/],
	["podman", "5:@1000:1", /the mapping that delegates it was not given/],
	["podman", "5:@999:2", /some of the 2 uids from @999 on are not delegated/, { parent: ROOTLESS }],
	["podman", "0:1:1 0:5:1", /overlap/],
	["podman", "--uidmap=0:1:1 --gidmap=u0:2:1", /the flag of the other kind/],
	["podman", "--uidmap", /last option has no value/],
	["podman", "--uidmap --gidmap=0:1:1", /expected a value, found/],
	["podman", "-0:1:1", /column 1/],
	["podman", "0:0:0", /maps nothing/],
	["podman-idmap", "idmap", /which was not given/],
	["podman-idmap", "idmapuids=0-0-1", /column 6 .*expected "=" after idmap/],
	["podman-idmap", "idmap=uids=0-1-1;uids=1-2-1", /occurs twice/, { container: CONTAINER }],
	["podman-idmap", "idmap=uids=@0-999-2", /span more than one extent/, { container: CONTAINER }],
	["podman-idmap", "idmap=uids=@0-5000-2", /has no uid 5000/, { container: CONTAINER }],
	[
		"podman-idmap",
		"idmap=uids=@1000-1000-100;gids=@1000-1000-100",
		/the container's mapping has no uid 1024$/,
		{ container: "0:165536:1024" },
	],
	["quadlet", "UIDMap=0:1:1\nUIDMap=0:5:1", /^quadlet text: uidMappings: the extents .* overlap/],
	[
		"lxc.conf",
		"lxc.idmap = u 0 1 9\nlxc.idmap = u 5 90 1",
		/0:1:9 and 5:90:1 overlap: both have containerID 5/,
	],
	["newuidmap", "0 1 1 5 1 1", /^newuidmap text: .* overlap: both have hostID 1/],
	["podman-idmap", "idmap=uids=0-1-1", /the gids come from the container/],
	["podman-idmap", "idmap=uids=0-1-1#", /column 18 \(extent 2\)/],
	["incus", "both 0-10 0-9", /column 11 .*11 IDs of the host, but 10 of the container/],
	["incus", "both 10-0 0-10", /ends before it starts/],
	["incus", "both 0 0\nall 1 1", /line 2, column 1 \(extent 2\): expected both, uid or gid/],
	["incus", "both0 0", /expected a blank after both/],
	["incus", "both 0 0 x", /end of the line/],
	["incus", "\n", /maps nothing/],
	["oci", "{", /not valid JSON/],
	["oci", "[]", /expected an object/],
	[
		"oci",
		'{"uidMappings":[{"containerID":0,"hostID":0,"size":1}]}',
		/gidMappings must be an array.*both kinds/,
	],
	[
		"oci",
		'{"uidMappings":[{"containerID":0,"hostID":0}],"gidMappings":[]}',
		/uidMappings\[0\].*size must be a number/,
	],
	["subid", "alpha:1", /column 1 .*: the line has fewer than three fields, so newuidmap ignores it/],
	["subid", "alpha:1:1\nbeta:5:1", /line 2, column 1 .*the lines are of two users, "alpha" and "beta"/],
	["subid", ":1:1", /the line has no user/],
	["subid", "beta:1:1", /^subid text: no line is of the user "alpha"$/, { user: { name: "alpha" } }],
	["subid", "beta:1:1", /no line is of the user "alpha" or 1000$/, { user: { name: "alpha", uid: 1000 } }],
	["subid", "# a comment\n\n", /^subid text: no line is of a user$/],
	["subid", "alpha:100000:0", /column 1 .*: the line has the count 0, so newuidmap ignores it/],
	["subid", "beta:5:5\nalpha:5:0\nalpha:6:0", /line 2, column 1 .*the count 0/, { user: { name: "alpha" } }],
	["subid", "alpha:100000:65536 ", /the line has a blank after the count/, { user: { name: "alpha" } }],
	["subid", "beta:1:1\nalpha:100000:65536\r\n", /line 2, .*a carriage return/, { user: { name: "alpha" } }],
	["subid", " alpha:100000:65536", /no line is of the user "alpha"/, { user: { name: "alpha" } }],
];

for (const [syntax, text, message, context] of bad) {
	test(`${syntax} refuses ${JSON.stringify(text)}`, () => {
		assert.throws(
			() => Mapping.parse(text, syntax, context),
			(error: UsernsError) => {
				assert.ok(error instanceof UsernsError);
				assert.equal(error.code, "ERR_USERNS_INVALID_MAPPING");
				assert.match(error.message, message);
				assert.ok(error.hint);
				return true;
			},
		);
	});
}

test("a mapping that a syntax cannot express is an error, and never becomes a smaller mapping", () => {
	for (const syntax of ["oci", "podman-idmap"] as const) {
		assert.throws(() => Mapping.from("u:0:1:1").toString(syntax), /cannot express/);
	}
	const user = { name: "alpha" };
	assert.throws(() => Mapping.from("5:1:1").toString("subid", { user }), /cannot express/);
	assert.throws(() => Mapping.from("u:0:1:1").toString("subid", { user }), /cannot express/);
	assert.throws(() => Mapping.from("0:1:1").toString("subid"), /needs the user/);
	assert.equal(Mapping.from("0:1:1,1:5:2").toString("subid", { user }), "alpha:1:1\nalpha:5:2");
	assert.throws(
		() => Mapping.from("0:1:1").toString("nonsense" as "colon"),
		/unknown mapping syntax "nonsense"/,
	);
});

test("without a syntax a text with one meaning is accepted, and another names the possible syntaxes", () => {
	const taken: [string, string][] = [
		["0:1:2", "0:1:2"],
		["b:0:1:2", "0:1:2"],
		["0:1:2 5:6:7", "0:1:2,5:6:7"],
		["0 1 2", "0:1:2"],
		["both 1 0", "0:1:1"],
		["idmap=uids=0-1-1;gids=0-1-1", "0:1:1"],
		[
			'{"uidMappings":[{"containerID":0,"hostID":1,"size":1}],"gidMappings":[{"containerID":0,"hostID":1,"size":1}]}',
			"0:1:1",
		],
	];
	for (const [text, id] of taken) assert.equal(Mapping.parse(text).id, id, text);
	assert.throws(() => Mapping.parse("0:1"), {
		message: /^no syntax fits "0:1": colon text, column 4/,
		hint: "Name the syntax if the text is meant so: podman.",
	});
	assert.throws(() => Mapping.parse("root:100000:65536"), /no syntax fits/);
	assert.throws(() => Mapping.parse(5 as unknown as string), { code: "ERR_USERNS_INVALID_ARGUMENT" });
	assert.throws(
		() => Mapping.parse("0:1:1", "colon", { parrent: "0:1:1" } as object),
		/unknown option "parrent"/,
	);
});
