import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

/** The sources alone, without a build. The test runs the build script there with another compiler. */
function buildWith(compiler: string): { status: number | null; stderr: string } {
	const folder = mkdtempSync(join(tmpdir(), "userns-build-"));
	for (const part of ["package.json", "native", "scripts"])
		cpSync(join(root, part), join(folder, part), { recursive: true });
	const result = spawnSync(process.execPath, ["scripts/build-native.mjs"], {
		cwd: folder,
		encoding: "utf8",
		env: { ...process.env, CC: compiler },
	});
	rmSync(folder, { recursive: true });
	return { status: result.status, stderr: result.stderr };
}

test("the build without a compiler fails and says how to get one", () => {
	const { status, stderr } = buildWith("/nowhere/cc");
	assert.equal(status, 1);
	assert.match(
		stderr,
		/^userns: there is no working C compiler: "\/nowhere\/cc --version" failed with ENOENT\nhint: .*apt-get install gcc/,
	);
	assert.ok(!stderr.includes("    at "), "no stack trace");
});

test("the build tells a compiler that fails from a missing one", () => {
	const { status, stderr } = buildWith("false");
	assert.equal(status, 1);
	assert.match(stderr, /ended with status 1/);
});

test("check-layers finds an import in the wrong direction, and a document with another list", () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-layers-"));
	for (const part of ["scripts", "src", "native", "docs/architecture.md", "package.json"])
		cpSync(join(root, part), join(folder, part), { recursive: true });
	const check = () =>
		spawnSync(process.execPath, ["scripts/check-layers.mjs"], { cwd: folder, encoding: "utf8" });
	assert.equal(check().status, 0);
	writeFileSync(
		join(folder, "src/mapping/wrong.ts"),
		'import { native } from "../native/addon.ts";\nexport const x = native;\n',
	);
	writeFileSync(join(folder, "native/mount/wrong.h"), '#include "userns/create.h"\n');
	const readme = join(folder, "src/cli/README.md");
	writeFileSync(readme, readFileSync(readme, "utf8").replace("`index.ts`", "`index.ts`, `mount/`"));
	const picture = join(folder, "docs/architecture.md");
	writeFileSync(
		picture,
		readFileSync(picture, "utf8").replace(/^native\/child .*$/m, "native/child → kernel, proc"),
	);
	const after = check();
	rmSync(folder, { recursive: true });
	assert.equal(after.status, 1);
	assert.match(after.stderr, /src\/cli\/README\.md has "`index\.ts`, `mount\/`"/);
	assert.match(after.stderr, /docs\/architecture\.md, native\/child, has "kernel, proc"/);
	assert.match(after.stderr, /mapping must not know native/);
	assert.match(after.stderr, /mount must not know userns/);
});
