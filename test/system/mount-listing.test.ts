import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
	Mapping,
	type MountInfo,
	mountIdmapped,
	mounts,
	overlay,
	supports,
	UserNamespace,
} from "../../src/index.ts";
import { ask, sh, userns } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { failure } from "../support/errors.ts";
import { freshType, mkdirs, withExt4, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
/** Many extents of each kind, which differ, so that the texts do not fit into the first buffer. */
const LONG = Array.from(
	{ length: 200 },
	(_, i) => `u:${i * 2}:${100000 + i * 3}:1,g:${i * 2}:${200000 + i * 3}:2`,
).join(",");

function at(list: readonly MountInfo[], mountPoint: string): MountInfo | undefined {
	return list.findLast((mount) => mount.mountPoint === mountPoint);
}

test("mounts returns every field of mountinfo, and the map of each ID-mapped mount", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", one = "", two = "", three = ""] = mkdirs(folder, "source", "one", "two", "a b");
		const made = [
			await mountIdmapped({ source, target: one, mapping: "u:0:100000:65536,g:5:6:7", readonly: true }),
			await mountIdmapped({ source, target: two, mapping: LONG }),
			await mountIdmapped({ source, target: three, mapping: "0:1:1" }),
		];
		const all = mounts();
		const lines = readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n");
		assert.deepEqual(
			all.map(({ mountId, parentId }) => `${mountId} ${parentId}`),
			lines.map((line) => line.split(" ").slice(0, 2).join(" ")),
		);
		const idmapped = mounts({ idmapped: true });
		assert.equal(idmapped.length, lines.filter((line) => line.includes("idmapped")).length);
		for (const [i, target] of [one, two, three].entries()) {
			const found = at(idmapped, target);
			assert.equal(found?.mountId, made[i]?.mountId);
			assert.equal(found?.fsType, freshType());
			assert.match(found?.source ?? "", freshType() === "tmpfs" ? /^userns-test$/ : /^\/dev\/loop\d+$/);
			assert.equal(found?.root, "/source");
		}
		assert.ok(at(idmapped, one)?.options.includes("ro"));
		assert.equal(at(all, folder)?.mapping, undefined);
		assert.equal(at(all, folder)?.idmapped, false);
		for (const mount of made) await mount.unmount();
		assert.throws(() => mounts({ pid: 2147483647 }), failure("ERR_USERNS_READ_MOUNTS", /ESRCH/));
		assert.throws(() => mounts({ pid: 0 }), failure("ERR_USERNS_INVALID_ARGUMENT", /a pid must be/));
		assert.throws(
			() => mounts({ idmaped: true } as object),
			failure("ERR_USERNS_INVALID_ARGUMENT", /idmaped/),
		);
		assert.throws(
			() => mounts({ idmapped: 1 } as never),
			failure("ERR_USERNS_INVALID_ARGUMENT", /idmapped must be/),
		);
	}),
);

test(
	"mounts returns the maps as they were requested, extent by extent",
	{ needs: [...needs, "linux:6.15"] },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			for (const text of [
				"u:0:100000:65536,g:5:6:7",
				LONG,
				"0:4294967293:1",
				"4294967294:0:1",
				"0:1:4294967293",
			]) {
				const mount = await mountIdmapped({ source, target, mapping: text });
				const found = at(mounts({ idmapped: true }), target);
				assert.equal(found?.mapping?.id, Mapping.from(text).id);
				assert.equal(found?.unknown, undefined);
				await mount.unmount();
			}
		}),
);

test(
	"mounts reads another mount namespace with its own user namespace",
	{
		needs: [...needs, "linux:6.15", "tool:unshare"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = ""] = mkdirs(folder, "source");
			const container = await startContainer(folder, "pivot", "0:100000:65536");
			try {
				const mount = await mountIdmapped({
					source,
					target: "/data",
					mapping: "0:100000:10",
					into: container.pid,
				});
				const found = at(mounts({ idmapped: true, pid: container.pid }), "/data");
				assert.equal(found?.mountId, mount.mountId);
				assert.equal(found?.mapping?.id, "0:100000:10");
				assert.equal(at(mounts(), "/data"), undefined);
				await mount.unmount();
				assert.deepEqual(mounts({ idmapped: true, pid: container.pid }), []);
			} finally {
				await container.end();
			}
		}),
);

test(
	"mounts shows an ordinary user of a namespace the maps in the namespace's IDs",
	{
		needs: [...needs, "linux:6.15", "tool:nsenter"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const mount = await mountIdmapped({ source, target, mapping: "100005:100007:1,100010:5:1" });
			const outer = await UserNamespace.create("0:100000:65536", { setgroups: "allow" });
			const found = ask<MountInfo[]>(`console.log(JSON.stringify(userns.mounts({ idmapped: true })));`, {
				prefix: ["nsenter", "--user=/proc/self/fd/3", "--setuid", "0", "--setgid", "0"],
				stdio: ["ignore", "pipe", "pipe", outer.fd],
			});
			outer.close();
			await mount.unmount();
			// Visible 100007 is 7 in the namespace. Visible 5 has no ID there, and the kernel leaves it out.
			const seen = found.find(({ mountPoint }) => mountPoint === target);
			assert.ok(seen?.idmapped);
			assert.ok(
				seen.unknown !== undefined || JSON.stringify(seen.mapping).includes('"hostID":7,'),
				JSON.stringify(seen),
			);
		}),
);

test(
	"supports tries whether a path can be mapped, and returns the file system, its path and the reason",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const [dir = "", ram = "", over = "", lower = ""] = mkdirs(folder, "dir", "ram", "over", "lower");
			writeFileSync(join(dir, "file"), "");
			sh("mount", "-t", "ramfs", "ram", ram);
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			for (const path of [dir, join(dir, "file"), folder]) {
				const answer = await supports(path);
				assert.deepEqual(answer, {
					fsType: freshType(),
					mountPoint: folder,
					supported: true,
					reason: "a copy of its mount was mapped",
				});
			}
			for (const [path, fsType, mountPoint] of [
				["/proc/self", "proc", "/proc"],
				[ram, "ramfs", ram],
			]) {
				const answer = await supports(path as string);
				assert.equal(answer.supported, false);
				assert.equal(answer.fsType, fsType);
				assert.equal(answer.mountPoint, mountPoint);
				assert.match(answer.reason, /cannot map mounts of this (proc|ramfs): EINVAL/);
				assert.match(answer.hint ?? "", /^Map a directory on another file system\./);
				assert.ok(answer.hint);
			}
			const layered = await overlay({ lower: [lower, dir], target: over, mapping: "0:1:1" });
			assert.equal((await supports(over)).fsType, "overlay");
			await layered.unmount();
			const fd = openSync(dir, "r");
			assert.equal((await supports(fd)).supported, true);
			closeSync(fd);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			await assert.rejects(supports(join(folder, "none")), failure("ERR_USERNS_MOUNT", /ENOENT/));
			await assert.rejects(supports(""), failure("ERR_USERNS_INVALID_ARGUMENT", /path/));
			await assert.rejects(supports(987654), failure("ERR_USERNS_MOUNT", /EBADF/));
			sh("umount", ram);
		}),
);

test(
	"supports answers for ext4, for a mapped mount, and for an unbindable one",
	{
		needs: [...needs, "loop", "tool:mkfs.ext4", "linux:6.15"],
	},
	() =>
		withExt4(async (folder) => {
			assert.deepEqual(await supports(folder), {
				fsType: "ext4",
				mountPoint: folder,
				supported: true,
				reason: "a copy of its mount was mapped",
			});
			const target = join(folder, "target");
			mkdirSync(target);
			const mount = await mountIdmapped({ source: folder, target, mapping: "0:1:1" });
			const mapped = await supports(target);
			assert.equal(mapped.supported, true);
			assert.match(mapped.reason, /already ID-mapped/);
			await mount.unmount();
			const stuck = await mountIdmapped({
				source: folder,
				target,
				mapping: "0:1:1",
				propagation: "unbindable",
			});
			const answer = await supports(target);
			assert.equal(answer.supported, false);
			assert.match(answer.reason, /unbindable/);
			await stuck.unmount();
		}),
);

test(
	"supports says that a mount is in another mount namespace, and its hint works there",
	{ needs: [...needs, "tool:unshare", "tool:nsenter"] },
	() =>
		withTmpfs(async (folder) => {
			const [there = ""] = mkdirs(folder, "there");
			const script = 'mount -t tmpfs only-there "$1" && echo ready && exec sleep 1000';
			const child = spawn(
				"unshare",
				["--mount", "--propagation", "private", "sh", "-c", script, "sh", there],
				{
					stdio: ["ignore", "pipe", "inherit"],
				},
			);
			try {
				await once(child.stdout, "data");
				const path = `/proc/${child.pid}/root${there}`;
				const answer = await supports(path);
				assert.deepEqual(answer, {
					fsType: "unknown",
					mountPoint: "outside this mount namespace",
					supported: false,
					reason:
						"its mount cannot be copied: it is in another mount namespace, or detached and unbindable, or detached before Linux 6.15",
					hint: "Test it in its mount namespace, for example with nsenter --target PID --mount.",
				});
				const { status, stdout } = userns("supports", path);
				assert.equal(status, 1);
				assert.match(stdout, /\(outside this mount namespace\): no, .* another mount namespace/);
				// The same directory as seen from here is of this mount namespace.
				assert.equal((await supports(there)).supported, true);
				const inside = ask<{ supported: boolean }>(
					`console.log(JSON.stringify(await userns.supports(${JSON.stringify(there)})));`,
					{ prefix: ["nsenter", "--target", String(child.pid), "--mount"] },
				);
				assert.equal(inside.supported, freshType() === "tmpfs");
				// The other mount that is in no mount table of this process.
				const detached = await mountIdmapped({ source: there, mapping: "0:1:1", propagation: "unbindable" });
				assert.match((await supports(detached.fd)).reason, /, or detached and unbindable,/);
				detached.close();
			} finally {
				child.kill("SIGKILL");
				await once(child, "close");
			}
		}),
);

test("supports fails if it cannot try", { needs: [...needs, "user"] }, () => {
	const error = ask<Record<string, string>>(
		`console.log(JSON.stringify(await userns.supports("/").catch((e) => e)));`,
		{ uid: 54321, gid: 54321 },
	);
	assert.equal(error.code, "ERR_USERNS_MOUNT");
	assert.equal(error.errnoCode, "EPERM");
	assert.match(error.hint ?? "", /CAP_SYS_ADMIN/);
});

test(
	"mounts finds a process by its pid if /proc belongs to another pid namespace",
	{ needs: [...needs, "tool:unshare"] },
	() =>
		withTmpfs((folder) => {
			const [marked = ""] = mkdirs(folder, "marked");
			// The pid of the child in the new pid namespace belongs to another process in this /proc.
			const prefix = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork"];
			const seen = ask<string[]>(
				`import { spawn } from "node:child_process";
			import { once } from "node:events";
			const script = 'mount -t tmpfs only-there "$1" && echo ready && exec sleep 100';
			const child = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", script, "sh", ${JSON.stringify(marked)}],
				{ stdio: ["ignore", "pipe", "inherit"] });
			await once(child.stdout, "data");
			const found = userns.mounts({ pid: child.pid }).filter(({ source }) => source === "only-there");
			child.kill("SIGKILL");
			console.log(JSON.stringify(found.map(({ mountPoint }) => mountPoint)));`,
				{ prefix },
			);
			assert.deepEqual(seen, [marked]);
		}),
);
