import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

test("the command loads nothing but the library beside it and Node's own modules, and contains commander's notice", () => {
	const text = readFileSync(join(root, bin.userns), "utf8");
	const loaded = [...text.matchAll(/\b(?:require\(|import\(|import|from)"([^"\n]+)"/g)].map(
		([, name = ""]) => name,
	);
	assert.ok(loaded.length > 5);
	const others = loaded.filter((name) => !name.startsWith("node:") && /^[\w./@-]+$/.test(name));
	assert.deepEqual([...new Set(others)], ["../library/userns.js"]);
	assert.match(text, /Copyright \(c\) 2011 TJ Holowaychuk/);
});
