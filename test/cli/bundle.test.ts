import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

const { bin, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
	bin: { userns: string };
	version: string;
};

/** As npm installs it: a link in another folder, which is executed itself. */
function throughLink(...args: string[]): { status: number | null; stdout: string; stderr: string } {
	const folder = mkdtempSync(join(tmpdir(), "userns-bin-"));
	try {
		const link = join(folder, "userns");
		symlinkSync(join(root, bin.userns), link);
		return spawnSync(link, args, { cwd: "/", encoding: "utf8" });
	} finally {
		rmSync(folder, { recursive: true });
	}
}

test("the bin file runs through a link from another folder and finds its package", () => {
	assert.deepEqual(throughLink("--version").stdout, `${version}\n`);
	const help = throughLink("help", "map");
	assert.equal(help.status, 0);
	assert.match(help.stdout, /^Usage: userns map /);
});

test("the bin file finds the add-on beside it", { needs: ["linux"] }, () => {
	const { status, stdout, stderr } = throughLink("show", "--json", `${process.pid}`);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	const uidMap = readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/).map(Number);
	const { uidMappings } = JSON.parse(stdout).mapping;
	assert.deepEqual(Object.values(uidMappings[0]), uidMap.slice(0, 3));
});

test("the files of the command load nothing but each other and Node's own modules, and contain commander's notice", () => {
	const start = join(root, bin.userns);
	const named = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name = ""]) => name);
	const parts = named(readFileSync(start, "utf8"), /"(\.[^"]+)"/g);
	assert.deepEqual(parts, ["./userns-exec.cjs", "./userns-all.cjs"]);
	for (const part of parts) {
		const text = readFileSync(join(dirname(start), part), "utf8");
		const loaded = named(text, /\brequire\("([^"]+)"\)/g);
		assert.ok(loaded.length > 5);
		assert.deepEqual(
			loaded.filter((name) => !name.startsWith("node:")),
			[],
		);
		assert.match(text, /Copyright \(c\) 2011 TJ Holowaychuk/);
	}
});
