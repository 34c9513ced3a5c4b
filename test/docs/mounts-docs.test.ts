import assert from "node:assert/strict";
import { chownSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, runScript, sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const text = readFileSync(join(root, "docs/mounts.md"), "utf8");
const examples = [...text.matchAll(/^## (.*)$|^```ts\n([\s\S]*?)^```$/gm)].reduce<
	{ title: string; code: string }[]
>((list, [, title, code]) => {
	if (title !== undefined) list.push({ title, code: "" });
	else (list.at(-1) as { code: string }).code = code ?? "";
	return list;
}, []);

/** Everything that the examples name, each on its own tmpfs; no other process is in this mount namespace. */
async function withWorld(body: (pid: number) => void): Promise<void> {
	await withTmpfs(async (folder) => {
		for (const place of ["/srv", "/mnt"]) sh("mount", "-t", "tmpfs", "docs", place);
		const container = await startContainer(folder, "pivot", "0:2100000000:65536");
		try {
			const [data = "", proc = ""] = mkdirs("/srv", "data", "tree/proc");
			mkdirs("/srv", "image/top", "image/base/etc", "box/upper", "box/work");
			mkdirs("/mnt", "data", "other");
			writeFileSync(join(data, "file"), "");
			for (const path of [data, join(data, "file")]) chownSync(path, 1000, 1000);
			sh("mount", "-t", "proc", "proc", proc);
			body(container.pid);
		} finally {
			await container.end();
			for (const place of ["/srv", "/mnt"]) sh("umount", "-R", place);
		}
	});
}

const needs = [
	"linux",
	"root",
	"mounts",
	"linux:6.15",
	"fs:overlay",
	"path:/srv",
	"path:/mnt",
	"tool:unshare",
] as const;
const withCode = examples.filter(({ code }) => code !== "");
for (const { title, code } of withCode) {
	test(
		`docs/mounts.md, "${title}": the example prints what it says`,
		{
			needs,
		},
		() =>
			withWorld((pid) => {
				const expected = [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, words]) => words);
				const script = code
					.replace(/import (\{.*\}) from "userns";/, "const $1 = userns;")
					.replace("4711", String(pid));
				const { status, stdout, stderr } = runScript(script);
				assert.equal(status, 0, stderr);
				assert.deepEqual(stdout.trim().split("\n"), expected);
				assert.ok(expected.length > 0);
			}),
	);
}

test("docs/mounts.md has an example for each of the functions", () => {
	const all = withCode.map(({ code }) => code).join();
	for (const name of ["mountIdmapped", "supports", "overlay", "fromOci", "mounts"])
		assert.match(all, new RegExp(`\\b${name}\\(`));
	assert.ok(withCode.length >= 8);
});
