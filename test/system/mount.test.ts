import assert from "node:assert/strict";
import {
	chownSync,
	closeSync,
	constants,
	existsSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	renameSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Handles, mountIdmapped, UserNamespace } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, mountFresh, withExt4, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const MAP = "0:100000:65536";

function owner(path: string): string {
	const { uid, gid } = statSync(path);
	return `${uid}:${gid}`;
}

for (const [name, withFs, extra] of [
	["tmpfs, or where that cannot be mapped ext4", withTmpfs, []],
	["ext4", withExt4, ["loop", "tool:mkfs.ext4"]],
] as const) {
	test(
		`${name}: owners are translated both ways, and nothing changes on disk`,
		{ needs: [...needs, ...extra] },
		() =>
			withFs(async (folder) => {
				const [source = "", target = ""] = mkdirs(folder, "source", "target");
				// The oracle, from the two maps alone: visible = disk + 100000 for uids, + 200000 for gids; outside the
				// maps the overflow ID.
				const files = { root: [0, 0], seven: [7, 8], last: [65535, 9], beyond: [65536, 5] } as const;
				const visible = {
					root: "100000:200000",
					seven: "100007:200008",
					last: "165535:200009",
					beyond: "65534:200005",
				};
				for (const [file, [uid, gid]] of Object.entries(files)) {
					writeFileSync(join(source, file), "");
					chownSync(join(source, file), uid, gid);
				}
				const mount = await mountIdmapped({ source, target, mapping: "u:0:100000:65536,g:0:200000:10" });
				for (const [file, seen] of Object.entries(visible)) {
					assert.equal(owner(join(target, file)), seen, file);
					assert.equal(owner(join(source, file)), files[file as keyof typeof files].join(":"), file);
				}
				chownSync(join(target, "root"), 100042, 200003);
				assert.equal(owner(join(source, "root")), "42:3");
				assert.throws(() => writeFileSync(join(target, "new"), ""), { code: "EOVERFLOW" }); // root has no ID on disk
				await mount.unmount();

				const back = await mountIdmapped({ source, target, mapping: "1000:0:1" });
				chownSync(source, 1000, 1000);
				writeFileSync(join(target, "by-root"), "data");
				assert.equal(owner(join(source, "by-root")), "1000:1000");
				assert.equal(owner(join(target, "by-root")), "0:0");
				await back.unmount();
				assert.deepEqual(readdirSync(target), []);
			}),
	);
}

test("attributes are those in mountinfo, and attributes that are left out are the source's", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const cases: [object, string[], string[]][] = [
			[{}, ["rw", "relatime", "idmapped"], ["ro", "nosuid", "nodev", "noexec"]],
			[
				{ readonly: true, nosuid: true, nodev: true, noexec: true, nosymfollow: true },
				["ro", "nosuid", "nodev", "noexec", "nosymfollow"],
				["rw"],
			],
			[{ atime: "noatime", nodiratime: true }, ["noatime", "nodiratime"], ["relatime"]],
			[{ atime: "strictatime" }, ["rw", "idmapped"], ["relatime", "noatime"]],
			[{ readonly: false }, ["rw"], ["ro"]],
		];
		for (const [options, has, hasNot] of cases) {
			const mount = await mountIdmapped({ source, target, mapping: MAP, ...options });
			const entry = mountAt(target);
			assert.equal(entry?.id, mount.mountId);
			for (const word of has) assert.ok(entry?.options.includes(word), `${word} in ${entry?.options}`);
			for (const word of hasNot) assert.ok(!entry?.options.includes(word), `${word} in ${entry?.options}`);
			await mount.unmount();
		}
	}),
);

test("recursive includes the tree, mapped as a whole or at its root only", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const [below = ""] = mkdirs(source, "below");
		await mountFresh(below);
		writeFileSync(join(below, "file"), "");

		const alone = await mountIdmapped({ source, target, mapping: MAP });
		assert.equal(existsSync(join(target, "below/file")), false);
		await alone.unmount();

		const whole = await mountIdmapped({ source, target, mapping: MAP, recursive: true, readonly: true });
		assert.equal(owner(join(target, "below/file")), "100000:100000");
		assert.ok(mountAt(join(target, "below"))?.options.includes("ro"));
		await whole.unmount();
		assert.equal(mountAt(join(target, "below")), undefined);

		const rootOnly = await mountIdmapped({
			source,
			target,
			mapping: MAP,
			recursive: true,
			recursiveIdmap: false,
			readonly: true,
		});
		assert.equal(owner(target), "100000:100000");
		assert.equal(owner(join(target, "below/file")), "0:0");
		assert.ok(mountAt(join(target, "below"))?.options.includes("ro"));
		await rootOnly.unmount();

		sh("mount", "-t", "proc", "proc", below);
		await assert.rejects(
			mountIdmapped({ source, target, mapping: MAP, recursive: true }),
			failure("ERR_USERNS_MOUNT", /EINVAL/),
		);
		assert.equal(mountAt(target), undefined);
		sh("umount", below);
		sh("umount", below);
	}),
);

test("a mount under a shared parent is private itself", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", parent = ""] = mkdirs(folder, "source", "parent");
		sh("mount", "-t", "tmpfs", "parent", parent);
		sh("mount", "--make-shared", parent);
		const [target = ""] = mkdirs(parent, "target");
		const mount = await mountIdmapped({ source, target, mapping: MAP });
		assert.deepEqual(mountAt(target)?.optional, []);
		await mount.unmount();
		const shared = await mountIdmapped({ source, target, mapping: MAP, propagation: "shared" });
		assert.match(mountAt(target)?.optional.join() ?? "", /^shared:\d+$/);
		await shared.unmount();
	}),
);

test("a detached mount is used through its descriptor and ends with it", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = ""] = mkdirs(folder, "source");
		writeFileSync(join(source, "file"), "");
		const mount = await mountIdmapped({ source, mapping: MAP });
		assert.equal(mount.target, undefined);
		assert.equal(owner(`/proc/self/fd/${mount.fd}/file`), "100000:100000");
		assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes(`\n${mount.mountId} `));
		await mount[Symbol.asyncDispose]();
		assert.throws(() => mount.fd, failure("ERR_USERNS_CLOSED", /closed/));
	}),
);

test("source may be a descriptor, a single file, or a relative path", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const [file, onFile] = [join(source, "file"), join(folder, "on-file")] as const;
		writeFileSync(file, "content");
		writeFileSync(onFile, "");
		const fd = openSync(source, constants.O_DIRECTORY);
		const byFd = await mountIdmapped({ source: fd, target, mapping: MAP });
		closeSync(fd);
		assert.equal(owner(join(target, "file")), "100000:100000");
		await byFd.unmount();
		const single = await mountIdmapped({ source: file, target: onFile, mapping: MAP });
		assert.equal(readFileSync(onFile, "utf8"), "content");
		assert.equal(owner(onFile), "100000:100000");
		await single.unmount();
		const before = process.cwd();
		process.chdir(folder);
		const relative = await mountIdmapped({ source: "source", target: "target", mapping: MAP });
		process.chdir(before);
		assert.equal(owner(join(target, "file")), "100000:100000");
		await relative.unmount();
		assert.equal(mountAt(target), undefined);
	}),
);

test("the namespace may come from userns or handles, and may be closed at once", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const handles = new Handles();
		const cached = await mountIdmapped({ source, target, mapping: MAP, handles });
		assert.equal(handles.size, 1);
		handles.release();
		assert.equal(owner(target), "100000:100000");
		await cached.unmount();

		const userns = await UserNamespace.create("0:5000:10");
		const pending = mountIdmapped({ source, target, userns });
		userns.close(); // during the mount
		const mount = await pending;
		assert.equal(owner(target), "5000:5000");
		assert.equal(mount.mapping.id, "0:5000:10");
		await mount.unmount();
	}),
);

test("unmount never removes a later mount of another program at the target", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		mkdirs(source, "inner");
		const mount = await mountIdmapped({ source, target, mapping: MAP });
		sh("mount", "-t", "tmpfs", "on-top", target);
		const top = mountAt(target)?.id;
		await assert.rejects(mount.unmount(), failure("ERR_USERNS_UNMOUNT", /other mounts are on it/));
		assert.equal(mountAt(target)?.id, top);
		sh("umount", target);
		sh("mount", "-t", "tmpfs", "below", join(target, "inner"));
		await assert.rejects(mount.unmount(), failure("ERR_USERNS_UNMOUNT", /other mounts are on it/));
		assert.ok(mountAt(join(target, "inner")));
		sh("umount", join(target, "inner"));

		// Another program unmounted it and mounted there.
		sh("umount", "--lazy", target);
		sh("mount", "-t", "tmpfs", "other", target);
		const other = mountAt(target)?.id;
		await mount.unmount();
		assert.equal(mountAt(target)?.id, other);
		await mount.unmount(); // a second unmount changes nothing
		sh("umount", target);
	}),
);

test("unmount finds its mount after the folder around it was renamed", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "around/target");
		const mount = await mountIdmapped({ source, target, mapping: MAP });
		renameSync(join(folder, "around"), join(folder, "moved"));
		const [decoy = ""] = mkdirs(folder, "around/target");
		sh("mount", "-t", "tmpfs", "decoy", decoy);
		await mount.unmount();
		assert.equal(mountAt(join(folder, "moved/target")), undefined);
		assert.ok(mountAt(decoy));
		sh("umount", decoy);
	}),
);

test("close leaves an attached mount, and unmount then says so", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const mount = await mountIdmapped({ source, target, mapping: MAP });
		mount.close();
		mount.close();
		assert.equal(mountAt(target)?.id, mount.mountId);
		await assert.rejects(mount.unmount(), failure("ERR_USERNS_CLOSED", /closed/));
		await mount[Symbol.asyncDispose]();
		assert.equal(mountAt(target)?.id, mount.mountId);
		sh("umount", target);
	}),
);

test("1,000 mounts and unmounts leave descriptors and mounts as before", { needs, timeout: 120_000 }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const handles = new Handles();
		const mounts = readFileSync("/proc/self/mountinfo", "utf8");
		const descriptors = readdirSync("/proc/self/fd").length;
		for (let i = 0; i < 1000; i++) {
			const mount = await mountIdmapped({ source, target, mapping: MAP, handles });
			await mount.unmount();
		}
		handles.release();
		assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), mounts);
		assert.equal(readdirSync("/proc/self/fd").length, descriptors);
	}),
);

test("the descriptor of a mount is close-on-exec", { needs }, () =>
	withTmpfs(async (folder) => {
		mkdirSync(join(folder, "source"));
		const mount = await mountIdmapped({ source: join(folder, "source"), mapping: MAP });
		assert.match(readFileSync(`/proc/self/fdinfo/${mount.fd}`, "utf8"), /^flags:\s*0*1?2\d{6}/m);
		assert.equal(readlinkSync(`/proc/self/fd/${mount.fd}`).startsWith("/"), true);
		mount.close();
	}),
);
