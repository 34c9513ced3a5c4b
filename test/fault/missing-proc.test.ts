import assert from "node:assert/strict";
import { join } from "node:path";
import { ask, root, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/** Another file system covers /proc from the script's `hide()` to `show()`, in its own mount namespace. */
const WITHOUT_PROC = `import { spawnSync } from "node:child_process";
import fs from "node:fs";
const sh = (...args) => { if (spawnSync(args[0], args.slice(1)).status !== 0) throw new Error(args.join(" ")); };
const table = () => fs.readFileSync("/proc/self/mountinfo", "utf8").trim().split("\\n");
const hide = () => sh("mount", "-t", "tmpfs", "cover", "/proc");
const show = () => sh("umount", "/proc");
const handles = new userns.Handles();
await handles.get("0:100000:65536");
const base = { mapping: "0:100000:65536", handles };
`;
const prefix = ["unshare", "--mount", "--propagation", "private"];
const needs = ["linux", "root", "mounts", "linux:6.5", "tool:unshare"] as const;

test(
	"without /proc, a mount that reports failure is not attached, and a mount that replace removes is gone",
	{ needs: [...needs, "tool:cc"] },
	() =>
		withTmpfs((folder) => {
			// With statmount(2) and listmount(2) the package knows the submounts without /proc, and nothing fails.
			const deny = join(folder, "deny");
			sh("cc", "-O2", "-o", deny, join(root, "test/support/programs/deny.c"));
			const [source = "", target = "", old = ""] = mkdirs(folder, "source", "target", "old");
			const [below = ""] = mkdirs(source, "below");
			sh("mount", "-t", "tmpfs", "below", below);
			sh("mount", "-t", "tmpfs", "old", old);
			const answer = ask<{ error: string; left: string[]; at: string[] }>(
				`${WITHOUT_PROC}
			const before = table();
			hide();
			const error = await userns.mountIdmapped({ ...base, source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)}, recursive: true })
				.then(() => "none", (e) => e.message);
			show();
			const left = table().filter((line) => !before.includes(line));
			hide();
			const mount = await userns.mountIdmapped({ ...base, source: ${JSON.stringify(target)}, target: ${JSON.stringify(old)}, replace: true });
			show();
			const at = table().map((line) => line.split(" ")).filter((fields) => fields[4] === ${JSON.stringify(old)}).map((fields) => fields[5]);
			await mount.unmount();
			handles.release();
			console.log(JSON.stringify({ error, left, at }));`,
				{ prefix: [deny, "457,458", ...prefix] },
			);
			assert.match(answer.error, /mountinfo cannot be read/);
			assert.deepEqual(answer.left, []);
			assert.equal(answer.at.length, 1, "the old mount is gone, and the new one there");
			assert.match(answer.at[0] ?? "", /idmapped/);
		}),
);

// Before Linux 6.15, unmount() reads mountinfo.
test(
	"without /proc, files are unmounted and replaced as directories are",
	{ needs: [...needs, "linux:6.15"] },
	() =>
		withTmpfs((folder) => {
			const [source = "", target = "", old = ""] = ["source", "target", "old"].map((name) =>
				join(folder, name),
			);
			for (const file of [source, target, old]) sh("cp", "/dev/null", file);
			sh("mount", "--bind", old, old);
			const answer = ask<{ left: number; byPath: string; at: string[] }>(
				`${WITHOUT_PROC}
			const [target, old] = ${JSON.stringify([target, old])};
			const at = (path) => table().map((line) => line.split(" ")).filter((fields) => fields[4] === path).map((fields) => fields[5]);
			const options = { ...base, source: ${JSON.stringify(source)} };
			const mount = await userns.mountIdmapped({ ...options, target });
			hide();
			await mount.unmount();
			show();
			const left = at(target).length;
			(await userns.mountIdmapped({ ...options, target })).close();
			hide();
			const byPath = userns.unmount(target).kind;
			(await userns.mountIdmapped({ ...options, target: old, replace: true })).close();
			show();
			handles.release();
			console.log(JSON.stringify({ left: left + at(target).length, byPath, at: at(old) }));`,
				{ prefix },
			);
			assert.deepEqual([answer.left, answer.byPath, answer.at.length], [0, "idmapped mount", 1]);
			assert.match(answer.at[0] ?? "", /idmapped/);
		}),
);
