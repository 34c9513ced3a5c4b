import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mountIdmapped, pin, UserNamespace, type UsernsError, unmount } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { askAs, freshUser } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
/** Of the tests that map nothing, which run on kernels before 5.12 too. */
const pinning = ["linux", "root", "private-mounts"] as const;

function refused(message: RegExp): (error: UsernsError) => boolean {
	return (error) => {
		assert.match(error.message, message);
		assert.match(error.code, /^ERR_USERNS_(UNMOUNT|PIN)$/);
		assert.ok(error.hint);
		return true;
	};
}

test("a pinned namespace outlives every descriptor, and ends with unmount", { needs: pinning }, () =>
	withTmpfs(async (folder) => {
		const path = join(folder, "ns");
		const made = UserNamespace.createSync("0:100000:65536");
		const { id, inode } = made;
		pin(made, path);
		made.close();
		assert.equal(mountAt(path)?.type, "nsfs");
		assert.deepEqual(mountAt(path)?.optional, []);
		const again = UserNamespace.open(path);
		assert.equal(again.inode, inode);
		assert.equal(again.id, id);
		assert.equal((await again.mapping()).id, "0:100000:65536");
		again.close();
		assert.deepEqual(unmount(path), { path, kind: "user namespace" });
		assert.equal(existsSync(path), false);
	}),
);

test("pin leaves an existing file unchanged, and leaves nothing when it fails", { needs: pinning }, () =>
	withTmpfs((folder) => {
		const ns = UserNamespace.createSync("0:100000:65536");
		const taken = join(folder, "taken");
		writeFileSync(taken, "data");
		assert.throws(() => pin(ns, taken), refused(/EEXIST/));
		assert.equal(readFileSync(taken, "utf8"), "data");
		assert.throws(() => pin(ns, join(folder, "none/ns")), refused(/ENOENT/));
		assert.throws(() => pin(ns, "/proc/ns"), refused(/cannot pin/));
		ns.close();
	}),
);

test("the hint names the ID-mapped mount on which a namespace cannot be pinned", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const mount = await mountIdmapped({ source, target, mapping: "0:100000:65536" });
		const ns = UserNamespace.createSync("0:100000:65536");
		assert.throws(
			() => pin(ns, join(target, "ns")),
			(error: UsernsError) => {
				assert.match(error.message, /EOVERFLOW/);
				assert.match(error.hint, /^Choose a path that is not on an ID-mapped mount/);
				return true;
			},
		);
		ns.close();
		await mount.unmount();
	}),
);

test("the hint of pin names root for a caller without privilege", {
	needs: ["linux", "root", "ordinary"],
}, () => {
	const user = freshUser({ before: 'mkdir -m 777 /mnt/home && chown "$user" /mnt/home' });
	const errors = askAs<UsernsError[]>(
		user,
		`import fs from "node:fs";
		const ns = userns.UserNamespace.createSync("0:" + process.geteuid() + ":1");
		const errors = ["/mnt/x", "/mnt/home/x"].map((path) => {
			try { userns.pin(ns, path); } catch (error) { return error; }
		});
		if (fs.readdirSync("/mnt/home").length > 0) throw new Error("a file is left");
		console.log(JSON.stringify(errors));`,
	);
	assert.deepEqual(
		errors.map(({ errnoCode }) => errnoCode),
		["EACCES", "EPERM"],
	);
	for (const { hint } of errors)
		assert.match(
			hint,
			/^Run it as root: this process has uid \d+ and lacks CAP_SYS_ADMIN, and pinning needs it/,
		);
	assert.match(errors[1]?.message ?? "", /: copying the namespace's mount: EPERM/);
});

test("unmount accepts ID-mapped mounts and pinned namespaces, and refuses everything else", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		mkdirs(source, "inner");
		const mount = await mountIdmapped({ source, target, mapping: "0:100000:65536" });
		mount.close();
		// A directory in a mount is not the mount, and unmount must not unmount what was not named.
		assert.throws(() => unmount(join(target, "inner")), refused(/cannot unmount/));
		assert.ok(mountAt(target));
		assert.throws(
			() => unmount(folder),
			refused(/it is not a mount of this package, but a mount of (tmpfs|ext4)/),
		);
		assert.throws(() => unmount(source), refused(/cannot unmount/));
		assert.throws(() => unmount(join(folder, "none")), refused(/ENOENT/));
		sh("mount", "-t", "tmpfs", "inner", join(target, "inner"));
		assert.throws(() => unmount(target), refused(/other mounts are on it/));
		assert.ok(mountAt(join(target, "inner")));
		assert.deepEqual(unmount(target, { recursive: true }), { path: target, kind: "idmapped mount" });
		assert.equal(mountAt(target), undefined);
		assert.equal(mountAt(join(target, "inner")), undefined);
	}),
);

test("mountIdmapped and unmount take paths with blanks and line ends", { needs }, () =>
	withTmpfs(async (folder) => {
		const target = join(folder, "a b\tc\nd\\e");
		mkdirSync(target);
		const mount = await mountIdmapped({ source: folder, target, mapping: "0:1:1" });
		mount.close();
		unmount(target);
		assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes("idmapped"));
	}),
);
