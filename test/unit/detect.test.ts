import assert from "node:assert/strict";
import { Mapping, type MappingSyntax, type UsernsError } from "../../src/index.ts";
import { test } from "../support/test.ts";

/** Texts of other programs, as people have them, with the syntax that is recognised and the meaning. */
const recognised: [text: string | string[], syntax: MappingSyntax, id: string][] = [
	["0:1:2", "colon", "0:1:2"],
	["0:1:2 5:6:7", "x-mount.idmap", "0:1:2,5:6:7"],
	["X-mount.idmap=u:0:1:1", "x-mount.idmap", "u:0:1:1"],
	["0 1 2\n", "proc", "0:1:2"],
	["0 1 2\n\n", "proc", "u:0:1:2"],
	["\n0 1 2", "proc", "g:0:1:2"],
	[["0 1 2", "5 1 2"], "proc", "u:0:1:2,g:5:1:2"],
	["0 1 2 5 6 7", "newuidmap", "0:1:2,5:6:7"],
	[["0", "1", "2"], "newuidmap", "0:1:2"],
	["newuidmap 42 0 1 2", "newuidmap", "u:0:1:2"],
	["--map-users=1000:0:1 --map-groups=100:0:1", "map-users", "u:1000:0:1,g:100:0:1"],
	["--map-mount u:0:1000:1 --map-mount g:0:1000:1", "mount-idmapped", "0:1000:1"],
	["-m b:0:1:1", "lxc", "0:1:1"],
	["lxc.idmap: u 0 1 2", "lxc.conf", "u:0:1:2"],
	["--uidmap 1000:0:1 --uidmap 0:1:1000 --uidmap 1001:1001:500", "podman", "0:1:1000,1000:0:1,1001:1001:500"],
	["idmap=uids=0-1-1;gids=0-2-1", "podman-idmap", "u:0:1:1,g:0:2:1"],
	['{"UidMap":["0:1:1000"],"GidMap":["0:1:1000"]}', "podman-inspect", "0:1:1000"],
	['{"uidmap":[{"container_id":0,"host_id":1,"size":1}]}', "podman-info", "u:0:1:1"],
	['{"uids":[{"host_id":1,"length":1}]}', "cri", "u:0:1:1"],
	['[{"Isuid":true,"Isgid":false,"Hostid":1,"Nsid":0,"Maprange":1}]', "incus-json", "u:0:1:1"],
	["both 1-2 0-1", "incus", "0:1:2"],
	["UIDMap=5000:0:1", "quadlet", "5000:0:1"],
];

test("Mapping.detect returns the syntax that a text was read in, and its mapping", () => {
	for (const [text, syntax, id] of recognised) {
		const found = Mapping.detect(text);
		assert.deepEqual([found.syntax, found.mapping.id], [syntax, Mapping.from(id).id], JSON.stringify(text));
		assert.equal(Mapping.parse(text).id, found.mapping.id);
	}
});

/** What each text gets without a syntax: the error about its meaning, or that of the grammar that read furthest. */
const refused: [text: string, message: RegExp, hint: RegExp][] = [
	[
		"0 100000 65536\n33 33 1",
		/^proc text: .*0:100000:65536 and 33:33:1 overlap: both have containerID 33$/,
		/at most once/,
	],
	["0:100000:65536 33:33:1", /^x-mount\.idmap text: .* overlap: both have containerID 33$/, /at most once/],
	["0:1:9,20:5:9", /^colon text: .*0:1:9 and 20:5:9 overlap: both have hostID 5–9$/, /at most once/],
	["0 4294967295 1", /^uid_map line 1 .*stands for "no ID"/, /4294967294/],
	["b:0:1:1 5:4294967290:9", /^x-mount\.idmap text, column 9 .*above 4294967294$/, /Reduce size/],
	["both 0-10 0-9", /^incus text, column 11 .*11 IDs of the host, but 10 of the container$/, /both HOST/],
	[
		Array.from({ length: 341 }, (_, i) => `${2 * i}:${3 * i}:1`).join(),
		/^colon text: .*341 extents.* 340/,
		/./,
	],
	["0:1:1;5:6:1", /^no syntax fits .*: colon text, column 6/, /^Write "containerID:hostID:size"/],
	[
		"0:1:1 5:6:x",
		/^no syntax fits .*: x-mount\.idmap text, column 11/,
		/^Write extents as "disk:visible:size"/,
	],
	["0 1 1\n5 x 1", /^no syntax fits .*: uid_map line 2: expected three numbers .*"5 x 1"$/, /whole numbers/],
	["newuidmap 42 0 1000", /^no syntax fits .*: newuidmap text, column 20/, /newgidmap PID/],
	["lxc.idmap: u 0 100000", /^no syntax fits .*: lxc\.conf text, column 22/, /^Write lines "lxc\.idmap/],
	["idmap=uids=0-1-1;gid=0-1-1", /^no syntax fits .*: podman-idmap text, column 18/, /^Write "idmap=/],
	["--map-users=auto", /^no syntax fits .*: map-users text, column 13/, /--map-groups=/],
	["UIDMap=0:1:1\nImage=x", /^no syntax fits .*: quadlet text, line 2, column 1/, /skipOtherLines/],
	['{"uidMappings":[]', /^no syntax fits .*not valid JSON/, /^Write \{/],
	[
		'{"uidmappings":[]}',
		/oci text: expected an object .*found one with the key "uidmappings"$/,
		/uidMappings.*UidMap.*uidmap.*uids/,
	],
	['{"UidMap":5}', /podman-inspect text: UidMap must be an array, not 5$/, /"UidMap"/],
	["[5]", /incus-json text: entry 0/, /"Isuid"/],
	[
		"hello",
		/^no syntax fits "hello": colon text, column 1/,
		/^Name the syntax to see the mistake: colon, proc, /,
	],
	// A file of which a grammar reads the lines that are its own.
	[
		"[Container]\nImage=x\nUIDMap=0:1:1",
		/^no syntax fits .*: quadlet text, column 1 .*expected UIDMap= or GIDMap=, found "\[Container\]"$/,
		/skipOtherLines/,
	],
	[
		"arch: amd64\nlxc.idmap: u 0 1 1\nunprivileged: 1",
		/^no syntax fits .*: lxc\.conf text, column 1 .*expected lxc\.idmap, found "arch: amd64"$/,
		/skipOtherLines/,
	],
	[
		"arch: amd64\nlxc.idmap: u 0 1 9\nlxc.idmap: u 5 90 1",
		/^lxc\.conf text: .*0:1:9 and 5:90:1 overlap: both have containerID 5$/,
		/at most once/,
	],
	["arch: amd64\nlxc.idmap: u 0 1", /^no syntax fits .*: colon text, column 1/, /^Name the syntax to see/],
	["root:100000:65536", /^no syntax fits/, /^Name the syntax if the text is meant so: subid\.$/],
];

test("without a syntax, the error about a meaning takes precedence, and then that of the grammar that read furthest", () => {
	for (const [text, message, hint] of refused) {
		assert.throws(
			() => Mapping.parse(text),
			(error: UsernsError) => {
				assert.match(error.message, message, text);
				assert.match(error.hint, hint, text);
				return error.code === "ERR_USERNS_INVALID_MAPPING";
			},
		);
	}
});

test("each text with other lines is read if they are skipped on request", () => {
	const read = (text: string) => Mapping.detect(text, { skipOtherLines: true });
	const quadlet = read("[Container]\nImage=x\nUIDMap=0:1:1");
	assert.deepEqual([quadlet.syntax, quadlet.mapping.id], ["quadlet", "0:1:1"]);
	const proxmox = read("arch: amd64\nlxc.idmap: u 0 1 1\nunprivileged: 1");
	assert.deepEqual([proxmox.syntax, proxmox.mapping.id], ["lxc.conf", "u:0:1:1"]);
});

const line = (...numbers: number[]): string => numbers.map((number) => String(number).padStart(10)).join(" ");

test("the kernel's lines of uid_map and gid_map are both files without an empty line, if only one line can begin gid_map", () => {
	const text = [line(0, 1000, 1), line(1, 100000, 65536), line(0, 100, 1), line(1, 200000, 65536), ""].join(
		"\n",
	);
	const id = "u:0:1000:1,u:1:100000:65536,g:0:100:1,g:1:200000:65536";
	assert.equal(Mapping.parse(text).id, id);
	assert.equal(Mapping.parse(text.trim(), "proc").id, id);
	const many = Array.from({ length: 300 }, (_, i) => line(2 * i, 3 * i, 1)).join("\n");
	assert.equal(Mapping.parse(`${many}\n${many}`).id, Mapping.parse(many).id);
	const unclear = [
		text.replaceAll(/ +/g, " "), // typed by hand: it may be one list with a mistake
		[line(0, 1000, 1), line(1, 100000, 9), line(0, 100, 1)].join("\n"), // gid_map can begin at either line
		[line(0, 1, 9), line(5, 90, 1), line(5, 91, 1)].join("\n"), // no line can
	];
	for (const each of unclear) {
		assert.throws(() => Mapping.parse(each, "proc"), {
			message: /overlap/,
			hint: /put an empty line between them\.$/,
		});
	}
});

test("a resolver allows names where the kind of ID is clear, and each kind has its own ID", () => {
	const ids: Record<string, number> = {
		"uid alice": 1000,
		"gid alice": 2000,
		"uid j.doe@corp.example": 5,
		"uid CORP\\jdoe": 6,
	};
	const names = (name: string, kind: string) => ids[`${kind} ${name}`];
	const read = (text: string, syntax?: MappingSyntax) => Mapping.parse(text, syntax, { names }).id;
	assert.equal(read("u:alice:0:1"), "u:1000:0:1");
	assert.equal(read("b:alice:7:1"), "u:1000:7:1,g:2000:7:1");
	assert.equal(read("u:0:alice:1,u:5:CORP\\jdoe:1"), "u:0:1000:1,u:5:6:1");
	assert.equal(read("u:j.doe@corp.example:alice:1 g:0:0:1", "x-mount.idmap"), "u:5:1000:1,g:0:0:1");
	assert.equal(read("--map-users=alice:0:1 --map-groups=alice:0:1"), "u:1000:0:1,g:2000:0:1");
	assert.equal(read("--map-users=0,alice,1"), "u:1000:0:1");
	assert.equal(read("--map-mount=b:alice:0:1"), "u:1000:0:1,g:2000:0:1");
	assert.equal(read("lxc.idmap = g 0 alice 1"), "g:0:2000:1");
	assert.equal(read("newuidmap 42 0 alice 1"), "u:0:1000:1");
	// A line of /etc/subuid is no extent.
	assert.throws(() => read("alice:100000:65536"), /no syntax fits .*"u:", "g:" or "b:" before a name/);
	assert.throws(
		() => read("alice:0:1", "colon"),
		/column 1 .*expected containerID, a decimal number, or "u:"/,
	);
	assert.throws(() => read("g:bob:0:1"), {
		message: 'colon text, column 3 (extent 1): there is no group "bob"',
		hint: "Write the ID of the group as a number.",
	});
	assert.throws(() => read("u:0:0:alice"), /column 7 .*expected size, a decimal number/);
	assert.throws(
		() => Mapping.parse("u:alice:0:1", "colon"),
		/expected containerID, a decimal number, found "alice:0:1"/,
	);
	for (const id of [-1, 1.5, 4294967295, "5"]) {
		const wrong = { names: () => id as number };
		assert.throws(() => Mapping.parse("u:alice:0:1", "colon", wrong), {
			code: "ERR_USERNS_INVALID_ARGUMENT",
		});
	}
	assert.throws(
		() => Mapping.parse("0:1:1", "colon", { names: 5 as never }),
		/names must be a function, not 5/,
	);
	assert.throws(
		() => Mapping.parse("0:1:1", "colon", { skipOtherLines: 1 as never }),
		/skipOtherLines must be a boolean/,
	);
});
