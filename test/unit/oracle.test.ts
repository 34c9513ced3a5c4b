import assert from "node:assert/strict";
import { Mapping } from "../../src/index.ts";
import * as oracle from "../matrix/oracle.ts";
import { samples, shapes } from "../matrix/shapes.ts";
import { test } from "../support/test.ts";

// Measured on Linux 6.18, on tmpfs and ext4 alike, through a mount with this map, and written by hand. The oracle of
// the mount tests must compute each of these from the mapping alone.
const mapping = Mapping.from("0:100000:65536");
const root = { uid: 0, gid: 0, capable: true };
const mapped = { uid: 100500, gid: 100500 };
const own = { uid: 7, gid: 7 };
const beyond = { uid: 65536, gid: 65536 };

test("the oracle gives the visible owners", () => {
	assert.deepEqual(oracle.shown(mapping, { uid: 0, gid: 0 }), { uid: 100000, gid: 100000 });
	assert.deepEqual(oracle.shown(mapping, beyond), { uid: 65534, gid: 65534 });
	assert.deepEqual(oracle.shown(mapping, { uid: 65536, gid: 0 }), { uid: 65534, gid: 100000 });
});

test("the oracle: host root creates no file", () => {
	const directory = { disk: own };
	// create, mkdir, symlink, mkfifo, O_TMPFILE
	assert.equal(oracle.creation(mapping, root, directory), "EOVERFLOW");
	assert.equal(oracle.linking(mapping, root, own), "EOVERFLOW");
	assert.equal(oracle.renaming(mapping, root, own), "EOVERFLOW");
});

test("the oracle: unmapped IDs are neither given nor changed", () => {
	for (const to of [{ uid: 5 }, { gid: 165536 }, { uid: 0, gid: 0 }]) {
		assert.equal(oracle.ownerChange(mapping, root, own, to), "EOVERFLOW");
	}
	assert.equal(oracle.inodeChange(mapping, root, beyond), "EOVERFLOW");
	assert.equal(oracle.ownerChange(mapping, root, beyond, { uid: 100000 }), "EOVERFLOW");
	assert.equal(oracle.removal(mapping, root, beyond), "EOVERFLOW");
	assert.equal(oracle.opening(mapping, root, beyond, 0o644, "read"), "OK");
	assert.equal(oracle.opening(mapping, root, beyond, 0o644, "write"), "EACCES");
});

test("the oracle: a caller with a visible ID creates files with its ID on disk", () => {
	assert.deepEqual(oracle.creation(mapping, mapped, { disk: own }), { uid: 500, gid: 500 });
	assert.deepEqual(oracle.creation(mapping, mapped, { disk: own, setgid: true }), { uid: 500, gid: 7 });
});

test("the oracle gives the results of POSIX ACLs", () => {
	assert.equal(oracle.aclEntryOnDisk(mapping, "uid", 100007), 7);
	assert.equal(oracle.aclEntryOnDisk(mapping, "gid", 100007), 7);
	assert.equal(oracle.aclEntryOnDisk(mapping, "uid", 7), "EINVAL");
});

test("the oracle gives the results of file capabilities", () => {
	assert.equal(oracle.rootidOnDisk(mapping, undefined), "EINVAL"); // v2
	assert.equal(oracle.rootidOnDisk(mapping, 0), "EINVAL");
	assert.equal(oracle.rootidOnDisk(mapping, 100000), 0); // v2, too
	assert.equal(oracle.rootidShown(mapping, 0), 100000);
});

test("the oracle gives the IDs of set-user-ID programs", () => {
	assert.deepEqual(oracle.execution(mapping, mapped, own), { euid: 100007, egid: 100007 });
	assert.deepEqual(oracle.execution(mapping, mapped, beyond), { euid: 100500, egid: 100500 });
});

test("the sample IDs of every shape are inside and outside of it, with at least one of each", () => {
	const lengths = shapes.map((shape) => shape.mapping.uidMappings.length);
	for (const count of [1, 5, 6, 340]) assert.ok(lengths.includes(count), `${count} extents`);
	for (const { name, mapping } of shapes) {
		for (const column of ["disk", "visible"] as const) {
			const { mapped, unmapped } = samples(mapping, column);
			const onDisk = column === "disk" ? mapping : mapping.invert();
			assert.ok(mapped.length > 0 && unmapped.length >= 3, name);
			for (const ids of mapped) assert.ok(oracle.isMapped(onDisk, ids), `${name}: ${ids.uid}:${ids.gid}`);
			for (const ids of unmapped) assert.ok(!oracle.isMapped(onDisk, ids), `${name}: ${ids.uid}:${ids.gid}`);
		}
	}
});
