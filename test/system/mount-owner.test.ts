import assert from "node:assert/strict";
import {
	chmodSync,
	chownSync,
	closeSync,
	mkdirSync,
	openSync,
	readFileSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Mapping, mountIdmapped, UserNamespace } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:setpriv"] as const;
const CONTAINER = "0:2100000000:1000";
const NOBODY = [65534, 65534];

/** [uid, gid]. */
function ownerOf(path: string): number[] {
	const { uid, gid } = statSync(path);
	return [uid, gid];
}

/** A source that belongs to 1000:100, with a file of its owner, one of 5:6, and one of 7:8. */
async function withSource(
	body: (source: string, target: string, folder: string) => Promise<void>,
): Promise<void> {
	await withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		for (const [name, uid, gid] of [
			["own", 1000, 100],
			["other", 5, 6],
			["taken", 7, 8],
		] as const) {
			writeFileSync(join(source, name), "");
			chownSync(join(source, name), uid, gid);
		}
		chownSync(source, 1000, 100);
		await body(source, target, folder);
	});
}

/** Creates a file as a user, or throws with what touch(1) says. */
function createAs(uid: number, gid: number, path: string): void {
	sh("setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "touch", path);
}

test(
	"owner: the files of the source's owner are visible as that user, new files belong to the owner, and no other ID exists",
	{ needs },
	() =>
		withSource(async (source, target) => {
			const mount = await mountIdmapped({ source, target, owner: { uid: 7, gid: 8 } });
			assert.equal(mount.mapping.id, "u:1000:7:1,g:100:8:1");
			assert.deepEqual(mount.warnings, []);
			assert.deepEqual(ownerOf(target), [7, 8]);
			assert.deepEqual(ownerOf(join(target, "own")), [7, 8]);
			assert.deepEqual(ownerOf(join(target, "other")), NOBODY);
			assert.deepEqual(ownerOf(join(target, "taken")), NOBODY);
			createAs(7, 8, join(target, "new"));
			assert.deepEqual(ownerOf(join(source, "new")), [1000, 100]);
			assert.throws(() => createAs(1000, 100, join(target, "refused")), /Permission denied|too large/);
			assert.deepEqual(ownerOf(source), [1000, 100]);
			await mount.unmount();
		}),
);

test(
	'others: "keep": the other IDs are as on disk, and the ID that the owner gets is named and not visible',
	{ needs },
	() =>
		withSource(async (source, target) => {
			const mount = await mountIdmapped({ source, target, owner: { uid: 7, gid: 8 }, others: "keep" });
			assert.deepEqual(ownerOf(join(target, "own")), [7, 8]);
			assert.deepEqual(ownerOf(join(target, "other")), [5, 6]);
			assert.deepEqual(ownerOf(join(target, "taken")), NOBODY);
			assert.equal(mount.warnings.length, 2);
			assert.match(mount.warnings[0] ?? "", /uid 7 on disk .* uid 1000 is visible as 7/);
			assert.match(mount.warnings[1] ?? "", /gid 8 on disk .* gid 100 is visible as 8/);
			createAs(7, 8, join(target, "new"));
			assert.deepEqual(ownerOf(join(source, "new")), [1000, 100]);
			assert.deepEqual(Mapping.identity().subtract(mount.mapping).size, { uid: 2, gid: 2 });
			await mount.unmount();

			const same = await mountIdmapped({ source, target, owner: { uid: 1000, gid: 100 }, others: "keep" });
			assert.deepEqual(same.warnings, []);
			assert.ok(same.mapping.isIdentity);
			await same.unmount();
		}),
);

test(
	"others keep: a visible user whose ID was the owner's cannot write as the user whose ID the owner got",
	{ needs },
	() =>
		withSource(async (source, target) => {
			const open = join(source, "open");
			mkdirSync(open);
			chmodSync(open, 0o1777);
			chownSync(open, 5, 6); // nobody may write to a directory whose owner is not visible
			const mount = await mountIdmapped({ source, target, owner: { uid: 0, gid: 0 }, others: "keep" });
			// With an exchange of both IDs, this file would belong to root on disk.
			assert.throws(() => createAs(1000, 100, join(target, "open", "file")), /too large/);
			createAs(5, 6, join(target, "open", "fine"));
			assert.deepEqual(ownerOf(join(source, "open", "fine")), [5, 6]);
			await mount.unmount();
		}),
);

test("the owner is that of the directory behind a link and of a descriptor, and of a file", { needs }, () =>
	withSource(async (source, target, folder) => {
		const link = join(folder, "link");
		symlinkSync(source, link);
		const fd = openSync(source, "r");
		for (const from of [link, fd]) {
			const mount = await mountIdmapped({ source: from, target, owner: { uid: 7, gid: 8 } });
			assert.deepEqual(ownerOf(join(target, "own")), [7, 8]);
			await mount.unmount();
		}
		closeSync(fd);
		const file = join(folder, "file");
		writeFileSync(file, "");
		const mount = await mountIdmapped({
			source: join(source, "other"),
			target: file,
			owner: { uid: 7, gid: 8 },
		});
		assert.equal(mount.mapping.id, "u:5:7:1,g:6:8:1");
		assert.deepEqual(ownerOf(file), [7, 8]);
		await mount.unmount();
	}),
);

test(
	"the owner of an ID-mapped source is the one that is visible through it",
	{ needs: [...needs, "linux:6.15"] },
	() =>
		withSource(async (source, target) => {
			const below = await mountIdmapped({ source, target, mapping: "u:1000:2000:1,g:100:200:1" });
			const mount = await mountIdmapped({ source: target, owner: { uid: 7, gid: 8 } });
			assert.equal(mount.mapping.id, "u:1000:7:1,g:100:8:1");
			mount.close();
			await below.unmount();
		}),
);

test(
	"into: the owner's IDs are IDs inside the container, given by its pid or by its mount namespace",
	{ needs: [...needs, "tool:nsenter", "tool:unshare"] },
	() =>
		withSource(async (source, _, folder) => {
			const container = await startContainer(folder, "pivot", CONTAINER);
			try {
				for (const into of [container.pid, `/proc/${container.pid}/ns/mnt`]) {
					for (const recursive of [false, true]) {
						const mount = await mountIdmapped({
							source,
							target: "/data",
							into,
							owner: { uid: 0, gid: 3 },
							recursive,
						});
						assert.equal(mount.mapping.id, "u:1000:2100000000:1,g:100:2100000003:1");
						assert.deepEqual(mount.warnings, []);
						assert.deepEqual(ownerOf(`/proc/${container.pid}/root/data/own`), [2100000000, 2100000003]);
						await mount.unmount();
					}
					const before = readFileSync(`/proc/${container.pid}/mountinfo`, "utf8");
					await assert.rejects(
						mountIdmapped({ source, target: "/data", into, owner: { uid: 1000, gid: 0 } }),
						failure("ERR_USERNS_UNMAPPED_ID", /the container does not map the uid 1000/),
					);
					assert.equal(readFileSync(`/proc/${container.pid}/mountinfo`, "utf8"), before);
				}
			} finally {
				await container.end();
			}
		}),
);

test(
	'userns: "container" uses the user namespace of the container',
	{ needs: [...needs, "tool:nsenter", "tool:unshare"] },
	() =>
		withSource(async (source, _, folder) => {
			const container = await startContainer(folder, "pivot", CONTAINER);
			try {
				for (const into of [container.pid, `/proc/${container.pid}/ns/mnt`]) {
					const mount = await mountIdmapped({ source, target: "/data", into, userns: "container" });
					assert.equal(mount.mapping.id, CONTAINER);
					assert.deepEqual(ownerOf(`/proc/${container.pid}/root/data/other`), [2100000005, 2100000006]);
					await mount.unmount();
				}
			} finally {
				await container.end();
			}
		}),
);

test(
	"into a container that has none of the visible IDs: the mount has a warning with the container's IDs",
	{ needs: [...needs, "tool:nsenter", "tool:unshare"] },
	() =>
		withSource(async (source, _, folder) => {
			const container = await startContainer(folder, "pivot", CONTAINER);
			const plain = await startContainer(folder, "pivot");
			try {
				for (const into of [container.pid, `/proc/${container.pid}/ns/mnt`]) {
					const mount = await mountIdmapped({ source, target: "/data", into, mapping: "0:1000:10" });
					assert.equal(mount.warnings.length, 2);
					assert.match(mount.warnings[0] ?? "", /no uid .* 2100000000–2100000999.* 1000–1009/);
					assert.match(mount.warnings[1] ?? "", /no gid /);
					await mount.unmount();
					const one = await mountIdmapped({
						source,
						target: "/data",
						into,
						mapping: "u:0:2100000000:1,g:0:7:1",
					});
					assert.equal(one.warnings.length, 1);
					await one.unmount();
				}
				const mount = await mountIdmapped({ source, target: "/data", into: plain.pid, mapping: "0:1000:10" });
				assert.deepEqual(mount.warnings, []);
				await mount.unmount();
			} finally {
				await container.end();
				await plain.end();
			}
		}),
);

test("wrong uses of owner are errors before any system call", { needs: ["linux"] }, async () => {
	const own = `u:0:${process.geteuid?.()}:1,g:0:${process.getegid?.()}:1`;
	const namespace = UserNamespace.createSync(Mapping.from(own));
	namespace.close();
	const base = { source: "/nonexistent", target: "/nonexistent" };
	const owner = { uid: 1, gid: 1 };
	for (const [options, message] of [
		[{ ...base, others: "keep" }, /others needs owner/],
		[{ ...base, owner, others: "drop" }, /others must be "unmapped" or "keep"/],
		[{ ...base, owner, mapping: "0:0:1" }, /mapping and owner cannot be used together/],
		[{ ...base, owner, userns: namespace }, /userns and owner cannot be used together/],
		[{ ...base, owner, unmap: true }, /unmap and owner/],
		[{ ...base, owner, nested: "replace" }, /owner and nested: "replace"/],
		[{ ...base, owner: { uid: 1 } }, /owner: gid must be a whole number/],
		[{ ...base, owner: { uid: -1, gid: 1 } }, /owner: uid must be a whole number/],
		[{ ...base, owner: { uid: 4294967295, gid: 1 } }, /owner: uid must be a whole number/],
		[{ ...base, owner: "1:1" }, /owner must be an object/],
		[{ ...base, userns: "container" }, /userns: "container" needs into/],
		[{ ...base, userns: "host" }, /userns must be a UserNamespace or "container"/],
		[base, /mapping, userns and owner are all missing/],
	] as const) {
		await assert.rejects(
			mountIdmapped(options as Parameters<typeof mountIdmapped>[0]),
			failure("ERR_USERNS_INVALID_ARGUMENT", message),
		);
	}
});
