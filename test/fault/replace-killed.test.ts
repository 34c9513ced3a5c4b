import assert from "node:assert/strict";
import { join } from "node:path";
import { ask, root, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:6.8", "tool:unshare"] as const;
const PRIVATE = ["unshare", "--mount", "--propagation", "private"];

type Answer = { error: string; step: string; hint: string; sources: string[] };

/** Replaces the mount at `target`, and returns the sources that are mounted there afterwards, from mountinfo. */
const replaceIt = (source: string, target: string) => `import fs from "node:fs";
	const at = { source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)}, mapping: "0:100000:65536", replace: true };
	const { message: error = "", step = "", hint = "" } = await userns.mountIdmapped(at).then((mount) => (mount.close(), {}), (e) => e);
	const sources = fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n")
		.filter((line) => line.split(" ")[4] === at.target).map((line) => line.split(" - ")[1].split(" ")[1]);
	console.log(JSON.stringify({ error, step, hint, sources }));`;

test(
	"if the child is killed between attaching the new mount and unmounting the old one, both stay",
	{
		needs: [...needs, "tool:strace"],
	},
	() =>
		withTmpfs((folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			sh("mount", "-t", "tmpfs", "the-old-one", target);
			// The child's first umount2(2) only asks whether a filter permits the call.
			const kill = ["strace", "-f", "-o", "/dev/null", "-e", "inject=umount2:signal=SIGKILL:when=2"];
			const answer = ask<Answer>(replaceIt(source, target), { prefix: [...PRIVATE, ...kill] });
			assert.match(answer.step, /unmounting the old mount/);
			assert.match(answer.hint, /beneath the old one/);
			assert.ok(answer.sources.includes("the-old-one"), "the old mount alone was not to be unmounted");
		}),
);

test(
	"a mount that replaces a file system with a slow shutdown is there, and stays",
	{
		needs: [...needs, "loop", "fs:fuse", "fs:fuseblk", "tool:cc", "tool:losetup"],
	},
	() =>
		withTmpfs((folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const program = join(folder, "slow-end");
			sh("cc", "-O2", "-o", program, join(root, "test/support/programs/slow-end.c"));
			const image = join(folder, "image");
			sh("truncate", "-s", "1M", image);
			const device = sh("losetup", "-f", "--show", image).trim();
			try {
				const start =
					'exec 3>&1; "$0" "$1" "$2" 13 3>&- 2>/dev/null | { read -r _; shift 2; exec "$@" >&3; }';
				const prefix = [...PRIVATE, "sh", "-c", start, program, device, target];
				const answer = ask<Answer>(replaceIt(source, target), { prefix });
				assert.equal(answer.error, "");
				assert.deepEqual(answer.sources, ["userns-test"]);
			} finally {
				sh("losetup", "-d", device);
			}
		}),
);
