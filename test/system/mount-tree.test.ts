import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Handles, mountIdmapped, UsernsError } from "../../src/index.ts";
import { ask, sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, mountFresh, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const MAP = "0:100000:65536";

/** A source that can be mapped, with a proc below it and a ramfs below that: no kernel maps these two. */
async function withTree(
	body: (source: string, target: string, below: { a: string; proc: string; ram: string }) => Promise<void>,
): Promise<void> {
	await withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const [a = "", ram = ""] = mkdirs(source, "a", "ram disk");
		await mountFresh(a);
		const [proc = ""] = mkdirs(a, "proc");
		sh("mount", "-t", "proc", "proc", proc);
		sh("mount", "-t", "ramfs", "ram", ram);
		writeFileSync(join(a, "file"), "");
		writeFileSync(join(ram, "file"), "");
		await body(source, target, { a, proc, ram });
	});
}

test(
	"a tree in which one file system refuses the map is not attached, and the error names the mount",
	{ needs },
	() =>
		withTree(async (source, target, { proc }) => {
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			await assert.rejects(
				mountIdmapped({ source, target, mapping: MAP, recursive: true }),
				failure(
					"ERR_USERNS_MOUNT",
					new RegExp(`, for the (proc at ${proc}|ramfs at .*/ram disk): setting the map`),
				),
			);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			// The error names a source without submounts too.
			await assert.rejects(
				mountIdmapped({ source: join(source, "a/proc/self"), target, mapping: MAP }),
				failure("ERR_USERNS_MOUNT", /, for the proc at .*: setting the map and the attributes: EINVAL/),
			);
			// Without a map on the whole tree no file system refuses.
			const rootOnly = await mountIdmapped({
				source,
				target,
				mapping: MAP,
				recursive: true,
				recursiveIdmap: false,
			});
			assert.equal(statSync(join(target, "ram disk/file")).uid, 0);
			await rootOnly.unmount();
		}),
);

test(
	"skipUnsupported maps the mounts that can be mapped, includes the others unmapped, and lists them",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withTree(async (source, target, { a, proc, ram }) => {
			const mount = await mountIdmapped({
				source,
				target,
				mapping: MAP,
				recursive: true,
				skipUnsupported: true,
				nodev: true,
			});
			assert.deepEqual(
				mount.skipped.map(({ mountPoint, fsType }) => [mountPoint, fsType]).sort(),
				[
					[proc, "proc"],
					[ram, "ramfs"],
				].sort(),
			);
			for (const { reason } of mount.skipped) assert.match(reason, /EINVAL/);
			const expected: [string, number, boolean][] = [
				["", 100000, true],
				["a/file", 100000, true],
				["a/proc/self", 0, false],
				["ram disk/file", 0, false],
			];
			for (const [path, uid] of expected) assert.equal(statSync(join(target, path)).uid, uid, path);
			for (const [path, mapped] of [
				["a", true],
				["a/proc", false],
				["ram disk", false],
			] as const) {
				const table = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
				const name = join(target, path).replace(" ", "\\040");
				const line = table.find((text) => text.split(" ")[4] === name) ?? "";
				assert.equal(line.includes(",idmapped "), mapped, line);
				assert.match(line, /nodev/);
				assert.doesNotMatch(line, /shared:|master:/);
			}
			await mount.unmount();
			assert.equal(mountAt(join(target, "a")), undefined);
			assert.ok(existsSync(join(a, "file")));
			// Nothing is skipped: the result is the same as without the option.
			const plain = await mountIdmapped({ source: a, target, mapping: MAP, skipUnsupported: false });
			assert.deepEqual(plain.skipped, []);
			await plain.unmount();
			// The source itself was requested, and is never skipped.
			await assert.rejects(
				mountIdmapped({ source: proc, target, mapping: MAP, recursive: true, skipUnsupported: true }),
				failure("ERR_USERNS_MOUNT", new RegExp(`for the proc at ${proc}`)),
			);
		}),
);

test(
	"a covered mount is not asked for a map, and is not visible in the result",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const [deep = ""] = mkdirs(source, "a/b");
			sh("mount", "-t", "proc", "hidden", deep); // refuses a map, and is covered by what follows
			sh("mount", "-t", "tmpfs", "cover", join(source, "a"));
			sh("mount", "-t", "ramfs", "lower", mkdirs(source, "stack")[0] as string);
			sh("mount", "-t", "tmpfs", "upper", join(source, "stack"));
			writeFileSync(join(source, "stack/file"), "");
			chownSync(join(source, "stack/file"), 7, 7);
			const mount = await mountIdmapped({
				source,
				target,
				mapping: MAP,
				recursive: true,
				skipUnsupported: true,
			});
			assert.deepEqual(mount.skipped, []);
			assert.equal(statSync(join(target, "stack/file")).uid, 100007);
			assert.equal(existsSync(join(target, "a/b")), false);
			await mount.unmount();
			for (const name of ["a", "a/b", "stack", "stack"]) sh("umount", join(source, name));
		}),
);

test(
	"attributes of every kind reach every mount of a tree that is assembled mount by mount",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withTree(async (source, target) => {
			const mount = await mountIdmapped({
				source,
				target,
				mapping: MAP,
				recursive: true,
				skipUnsupported: true,
				readonly: true,
				nosuid: true,
				noexec: true,
				nosymfollow: true,
				atime: "noatime",
				propagation: "unbindable",
			});
			for (const path of ["", "a", "a/proc"]) {
				const entry = mountAt(join(target, path).replace(/\/$/, ""));
				for (const word of ["ro", "nosuid", "noexec", "nosymfollow", "noatime"]) {
					assert.ok(entry?.options.includes(word), `${path}: ${word} in ${entry?.options}`);
				}
				assert.equal(entry?.optional.join(), "unbindable", path);
			}
			await mount.unmount();
		}),
);

test(
	"an unbindable mount and those below it are left out, however the tree is copied",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = "", stuck = "", other = ""] = mkdirs(
				folder,
				"source",
				"target",
				"source/stuck",
				"other",
			);
			sh("mount", "-t", "tmpfs", "stuck", stuck);
			const [below = ""] = mkdirs(stuck, "below");
			sh("mount", "-t", "tmpfs", "below", below);
			sh("mount", "--make-unbindable", stuck);
			const options = { source, target, mapping: MAP, recursive: true };
			const inOne = await mountIdmapped(options);
			assert.equal(mountAt(join(target, "stuck")), undefined);
			await inOne.unmount();
			const there = mkdirs(source, "there")[0] as string;
			const nested = await mountIdmapped({ source: other, target: there, mapping: "0:5:1" });
			const inParts = await mountIdmapped({ ...options, mapping: "0:100000:10" });
			assert.ok(mountAt(join(target, "there"))?.options.includes("idmapped"));
			assert.equal(statSync(join(target, "there")).uid, 100005);
			assert.equal(mountAt(join(target, "stuck")), undefined);
			await inParts.unmount();
			await nested.unmount();
			sh("umount", below);
			sh("umount", stuck);
		}),
);

test(
	"a tree whose mounts change meanwhile is attached whole or not at all",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = "", flap = "", other = ""] = mkdirs(
				folder,
				...["source", "target", "source/flap", "other"],
			);
			const there = mkdirs(source, "there")[0] as string;
			const nested = await mountIdmapped({ source: other, target: there, mapping: "0:5:1" });
			const script = 'while :; do mount -t tmpfs flap "$1"; touch "$1/marker"; umount "$1"; done';
			const flapper = spawn("sh", ["-c", script, "sh", flap], { stdio: "ignore", detached: true });
			const handles = new Handles();
			const found = { with: 0, without: 0, refused: 0 };
			try {
				// More rounds if the flapper gets so little of the processors that one of the states was not met.
				for (let i = 0; i < 200 || (i < 5000 && (found.with === 0 || found.without === 0)); i++) {
					try {
						const mount = await mountIdmapped({
							source,
							target,
							mapping: "0:100000:10",
							recursive: true,
							handles,
						});
						const inside = mountAt(join(target, "flap"));
						if (inside === undefined) found.without++;
						else {
							found.with++;
							assert.ok(inside.options.includes("idmapped"));
						}
						assert.equal(statSync(join(target, "there")).uid, 100005);
						await mount.unmount();
					} catch (error) {
						assert.ok(error instanceof UsernsError, String(error));
						assert.equal(error.step, "opening a mount below the source", error.message);
						found.refused++;
					}
					assert.equal(mountAt(target), undefined);
				}
			} finally {
				process.kill(-(flapper.pid as number), "SIGKILL"); // the shell and the program that it runs now
				await once(flapper, "close");
				handles.release();
			}
			assert.ok(found.with > 0 && found.without > 0, JSON.stringify(found));
			await nested.unmount();
		}),
);

test(
	"a mount with a path that is too long is an error, and is included if no path is needed",
	{
		needs: [...needs, "tool:unshare"],
	},
	() =>
		withTree(async (source, target, { a, ram }) => {
			// The mount exists in its own mount namespace, because umount(8) cannot name it either.
			const deep = `cd "$1"; name=$(printf %0250d 0); for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do
			mkdir $name; cd -P $name; done; mkdir end; mount -c -t tmpfs deep end`;
			const answer = ask<{ plain: string; error: Record<string, string>; left: number }>(
				`import { spawnSync } from "node:child_process";
			import fs from "node:fs";
			spawnSync("sh", ["-e", "-c", ${JSON.stringify(deep)}, "sh", ${JSON.stringify(a)}]);
			const there = () => fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").filter((line) => line.includes(" - tmpfs deep "));
			const count = () => fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").length;
			const before = count();
			const options = { source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)}, mapping: "${MAP}", recursive: true };
			const error = await userns.mountIdmapped({ ...options, skipUnsupported: true }).catch((e) => ({ code: e.code, message: e.message }));
			const left = count() - before;
			const mount = await userns.mountIdmapped({ ...options, recursiveIdmap: false });
			const plain = String(there().length);
			await mount.unmount();
			console.log(JSON.stringify({ plain, error, left: left + count() - before }));`,
				{ prefix: ["unshare", "--mount", "--propagation", "private"] },
			);
			assert.equal(answer.plain, "2");
			assert.equal(answer.error.code, "ERR_USERNS_MOUNT");
			assert.match(answer.error.message ?? "", /a mount of tmpfs has 45\d\d bytes/);
			assert.equal(answer.left, 0);
			assert.ok(existsSync(ram));
		}),
);
