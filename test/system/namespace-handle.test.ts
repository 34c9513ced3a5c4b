import assert from "node:assert/strict";
import { closeSync, fstatSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type NamespaceHandle, UserNamespace, UsernsError } from "../../src/index.ts";
import { native } from "../../src/native/addon.ts";
import { runScript } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { OTHER_UID, olderThan } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "ids"] as const;
const MAP = "0:100000:65536";
const BY_HANDLE = olderThan("6.18") === undefined;
const BY_ID_ALONE = olderThan("7.2") === undefined;

test("open opens a namespace again by its handle, but not after the namespace has ended", {
	needs,
}, async () => {
	const namespace = UserNamespace.createSync(MAP);
	const { handle } = namespace;
	if (!BY_HANDLE) {
		assert.equal(handle, undefined);
		assert.throws(
			() => UserNamespace.open({ id: 1n, inode: namespace.inode }),
			failure("ERR_USERNS_UNSUPPORTED_KERNEL", /since Linux 6\.18/),
		);
		namespace.close();
		return;
	}
	assert.ok(handle !== undefined);
	assert.deepEqual(handle, { id: namespace.id, inode: namespace.inode });
	const again = UserNamespace.open(handle);
	assert.ok(again.equals(namespace));
	assert.equal((await again.mapping()).id, MAP);
	again.close();
	const later = await UserNamespace.openAsync({ ...handle, id: Number(handle.id) });
	assert.ok(later.equals(namespace));
	later.close();
	// Another inode is another namespace, whatever the ID is.
	const other = UserNamespace.createSync(MAP);
	assert.throws(
		() => UserNamespace.open({ ...handle, inode: other.inode }),
		failure("ERR_USERNS_OPEN", /\bID \d+/),
	);
	other.close();
	if (BY_ID_ALONE) {
		const alone = UserNamespace.open({ id: handle.id });
		assert.ok(alone.equals(namespace));
		alone.close();
	} else if (olderThan("6.19") !== undefined) {
		assert.throws(
			() => UserNamespace.open({ id: handle.id }),
			(error) => {
				assert.ok(error instanceof UsernsError);
				assert.match(error.hint ?? "", /Before Linux 7\.2, pass the inode too/);
				return error.code === "ERR_USERNS_OPEN";
			},
		);
	}
	namespace.close();
	for (let i = 0; ; i++) {
		try {
			UserNamespace.open(handle).close(); // the kernel removes the namespace a moment after its last descriptor
		} catch (error) {
			assert.ok(error instanceof UsernsError);
			assert.equal(error.code, "ERR_USERNS_OPEN");
			assert.equal(error.errno, -116); // ESTALE
			break;
		}
		assert.ok(i < 3000, "the namespace still exists after 30 s");
		await sleep(10);
	}
});

test("open refuses the ID of a namespace of another kind", { needs: [...needs, "linux:6.18"] }, () => {
	const fd = openSync("/proc/self/ns/mnt", "r");
	try {
		const id = native().mountNamespaceId(fd);
		assert.equal(typeof id, "bigint");
		const { ino } = fstatSync(fd);
		assert.throws(
			() => UserNamespace.open({ id: id as bigint, inode: ino }),
			failure("ERR_USERNS_OPEN", /ESTALE|EMEDIUMTYPE/),
		);
	} finally {
		closeSync(fd);
	}
});

test("open checks the ID before any system call", { needs: ["linux"] }, () => {
	const wrong: unknown[] = [
		...[{}, { id: 0 }, { id: -1n }, { id: 1.5 }, { id: 2n ** 64n }, { id: "7" }, { id: 2 ** 53 }],
		...[{ id: 1, inode: -1 }, { id: 1, inode: 2 ** 32 }, { id: 1, inode: 1n }, { id: 1, pid: 2 }, [], null],
		Object.create({ id: 7n }),
	];
	for (const target of wrong) {
		assert.throws(
			() => UserNamespace.open(target as NamespaceHandle),
			failure("ERR_USERNS_INVALID_ARGUMENT", /open/),
		);
	}
});

test("open by an ID fails without root", {
	needs: [...needs, "user", "linux:6.18"],
}, () => {
	const namespace = UserNamespace.createSync(MAP);
	const { id, inode } = namespace.handle as { id: bigint; inode: number };
	const script = `try { userns.UserNamespace.open({ id: ${id}n, inode: ${inode} }); console.log("opened"); }
			catch ({ code, hint }) { console.log(code, hint); }`;
	const { stdout } = runScript(script, { uid: OTHER_UID, gid: OTHER_UID });
	assert.match(stdout, /^ERR_USERNS_OPEN .*not root in the initial user/);
	namespace.close();
});
