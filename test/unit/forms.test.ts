import assert from "node:assert/strict";
import { Mapping, type MappingSyntax, mappingSyntaxes } from "../../src/index.ts";
import { test } from "../support/test.ts";

const user = { name: "alpha" };

/**
 * Each form as its own manual gives it, written by hand: reading a printed text back would not show two mistakes that
 * agree.
 */
const printed: [syntax: MappingSyntax, mapping: string, text: string][] = [
	["colon", "5:6:1,0:100000:3", "0:100000:3,5:6:1"],
	["colon", "u:0:1:1,g:0:2:2", "u:0:1:1,g:0:2:2"],
	["colon", "g:0:2:2", "g:0:2:2"],
	["proc", "0:100000:3,5:6:1", "0 100000 3\n5 6 1"],
	["proc", "u:0:1:1,g:0:2:2", "0 1 1\n\n0 2 2"],
	["proc", "u:0:1:1", "0 1 1\n\n"],
	["proc", "g:0:2:2", "\n0 2 2"],
	["newuidmap", "0:100000:3,5:6:1", "0 100000 3 5 6 1"],
	["newuidmap", "u:0:1:1,g:0:2:2", "newuidmap $pid 0 1 1\nnewgidmap $pid 0 2 2"],
	["newuidmap", "g:0:2:2,g:5:6:1", "newgidmap $pid 0 2 2 5 6 1"],
	["x-mount.idmap", "0:100000:3,5:6:1", "0:100000:3 5:6:1"],
	["x-mount.idmap", "u:0:1:1,g:0:2:2", "u:0:1:1 g:0:2:2"],
	["map-users", "0:1:1,5:6:1", "--map-users=0:1:1 --map-users=5:6:1 --map-groups=0:1:1 --map-groups=5:6:1"],
	["map-users", "g:0:2:2", "--map-groups=0:2:2"],
	["mount-idmapped", "0:100000:3,5:6:1", "b:0:100000:3 b:5:6:1"],
	["mount-idmapped", "u:0:1:1,g:0:2:2", "u:0:1:1 g:0:2:2"],
	["lxc", "0:100000:3,5:6:1", "b:0:100000:3 b:5:6:1"],
	["lxc.conf", "u:0:1:1,u:5:6:1,g:0:2:2", "lxc.idmap = u 0 1 1\nlxc.idmap = u 5 6 1\nlxc.idmap = g 0 2 2"],
	[
		"oci",
		"u:0:1:1,g:0:2:2",
		'{"uidMappings":[{"containerID":0,"hostID":1,"size":1}],"gidMappings":[{"containerID":0,"hostID":2,"size":2}]}',
	],
	["cri", "u:0:1:1", '{"uids":[{"container_id":0,"host_id":1,"length":1}],"gids":[]}'],
	["podman", "0:100000:3,5:6:1", "--uidmap=0:100000:3 --uidmap=5:6:1"],
	["podman", "u:0:1:1,u:5:6:1", "--uidmap=u0:1:1 --uidmap=u5:6:1"],
	["podman", "g:0:1:1,g:5:6:1", "--gidmap=g0:1:1 --gidmap=g5:6:1"],
	["podman", "u:0:1:1,g:0:2:2", "--uidmap=0:1:1 --gidmap=0:2:2"],
	["podman-idmap", "0:100000:3,5:6:1", "idmap=uids=0-100000-3#5-6-1;gids=0-100000-3#5-6-1"],
	["podman-idmap", "u:0:1:1,g:0:2:2", "idmap=uids=0-1-1;gids=0-2-2"],
	["podman-inspect", "u:0:1:1,u:5:6:1,g:0:2:2", '{"UidMap":["0:1:1","5:6:1"],"GidMap":["0:2:2"]}'],
	[
		"podman-info",
		"u:0:1:1,g:0:2:2",
		'{"uidmap":[{"container_id":0,"host_id":1,"size":1}],"gidmap":[{"container_id":0,"host_id":2,"size":2}]}',
	],
	["quadlet", "0:1:1,5:6:1", "UIDMap=0:1:1\nUIDMap=5:6:1"],
	["quadlet", "u:0:1:1,g:0:2:1", "UIDMap=0:1:1\nGIDMap=0:2:1"],
	["quadlet", "u:0:1:1", "UIDMap=u0:1:1"],
	["incus", "0:100000:3,5:6:1", "both 100000-100002 0-2\nboth 6 5"],
	["incus", "u:0:1:1,g:0:2:2", "uid 1 0\ngid 2-3 0-1"],
	["incus-json", "0:1:3", '[{"Isuid":true,"Isgid":true,"Hostid":1,"Nsid":0,"Maprange":3}]'],
	[
		"incus-json",
		"u:0:1:3,g:0:2:3",
		'[{"Isuid":true,"Isgid":false,"Hostid":1,"Nsid":0,"Maprange":3},{"Isuid":false,"Isgid":true,"Hostid":2,"Nsid":0,"Maprange":3}]',
	],
	["subid", "0:100000:3,3:6:1", "alpha:100000:3\nalpha:6:1"],
];

test("each syntax is printed as its manual has it", () => {
	for (const [syntax, mapping, text] of printed) {
		assert.equal(Mapping.from(mapping).toString(syntax, { user }), text, `${syntax}: ${mapping}`);
		assert.equal(Mapping.parse(text, syntax, { user }).id, Mapping.from(mapping).id, `${syntax}: ${text}`);
	}
	assert.deepEqual([...new Set(printed.map(([syntax]) => syntax))], Object.keys(mappingSyntaxes));
	assert.equal(Mapping.from("0:1:1").toString(), "0:1:1");
	assert.equal(`${Mapping.from("0:1:1")}`, "0:1:1");
	assert.equal(Mapping.from("0:1:1").toString("subid", { user: { uid: 0 } }), "0:1:1");
});

const read: [syntax: MappingSyntax, text: string | string[], id: string, context?: object][] = [
	["colon", "0:1:2,b:2:3:1", "0:1:3"],
	["colon", ["0:1:1", "g:5:6:1"], "u:0:1:1,g:0:1:1,g:5:6:1"],
	["proc", "\r\n \n0 2 1", "g:0:2:1"],
	["proc", "0 1 1\n \t\r\n0 2 1", "u:0:1:1,g:0:2:1"],
	["proc", ["", "0 2 1"], "g:0:2:1"],
	["x-mount.idmap", "\\040 0:1:1\\040\\0405:6:1  ", "0:1:1,5:6:1"],
	["x-mount.idmap", "0:1:1 \\040", "0:1:1"],
	["mount-idmapped", "  b:0:1:1   g:5:6:1 ", "u:0:1:1,g:0:1:1,g:5:6:1"],
	["podman", " 0:1:1\t 5:6:1\r\n7:8:1 ", "0:1:1,5:6:1,7:8:1"],
	// After --gidmap=…, an argument without a name is a --uidmap again.
	["podman", "--gidmap=0:2:1 0:1:1", "u:0:1:1,g:0:2:1"],
	// The mapping does not say what is delegated, so nothing is filled in.
	["podman", "+5:6:1", "5:6:1"],
	// Without the flag podman maps root, and the entry stands alone.
	["podman", "+5:@1000:1", "5:0:1", { parent: "0:1000:1,1:100000:4" }],
	// From the middle of the delegated range.
	["podman", "5:@100010:3", "5:11:3", { parent: "0:1000:1,1:100000:100" }],
	// Both the free IDs inside and the delegated IDs are in several pieces.
	[
		"podman",
		"+3:@1000:1 8:@100001:1",
		"0:1:1,1:3:2,3:0:1,4:20:4,8:2:1,9:24:6",
		{ parent: "0:1000:1,1:100000:4,20:300000:10", rootless: true },
	],
	["podman-idmap", "ridmap=gids=0-2-1;uids=0-1-1", "u:0:1:1,g:0:2:1"],
	// The very last IDs of the container's extent.
	[
		"podman-idmap",
		"idmap=uids=@7-1005-5;gids=7-1-1",
		"u:7:500005:5,g:7:1:1",
		{ container: "1000:500000:10" },
	],
	["incus", "both 5-5 0-0", "0:5:1"],
	["incus", "\t\r\n both\t5 \t0 \t\r\n\n\n  uid 7 1\r\n \r", "u:0:5:1,u:1:7:1,g:0:5:1"],
	["subid", " \t\n#alpha:1:1\nalpha:5:2\n\r\n \r", "0:5:2", { user: { name: "alpha" } }],
	["subid", " \t\r\n# x\n#\nalpha:5:2", "0:5:2"],
	["subid", "alpha:1:0\nalpha:5:2", "0:5:2"],
	["subid", "1000:5:2", "0:5:2", { user: { uid: 1000 } }],
];

test("each syntax accepts its blanks, empty lines, kinds, and parts that the context gives", () => {
	for (const [syntax, text, id, context] of read) {
		assert.equal(Mapping.parse(text, syntax, context).id, Mapping.from(id).id, JSON.stringify(text));
	}
});
