import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

/** A compiler that writes empty files. */
const EMPTY_COMPILER = `#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = -o ] && : > "$2"; shift; done
`;

test("the build on a file system that is read-only or full, and without a temporary folder, names the cause", {
	needs: ["linux", "root", "mounts", "tool:unshare"],
}, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-build-"));
	try {
		for (const part of ["package.json", "native", "scripts", "node_modules/node-api-headers"])
			cpSync(join(root, part), join(folder, part), { recursive: true });
		const compiler = join(folder, "cc");
		writeFileSync(compiler, EMPTY_COMPILER, { mode: 0o755 });
		mkdirSync(join(folder, "prebuilds"));
		const file = join(folder, `prebuilds/userns.linux-${process.arch}.node`);
		const cases: [mount: string, environment: string, message: string, hint: RegExp][] = [
			["mount -t tmpfs -o ro t prebuilds", "", `${file} cannot be written (EROFS)`, /: it is read-only\.$/],
			[
				"mount -t tmpfs -o nr_inodes=1 t prebuilds",
				"",
				`${file} cannot be written (ENOSPC)`,
				/: it is full\.$/,
			],
			["true", "TMPDIR=/no/such", "/no/such cannot be written (ENOENT)", /^Set TMPDIR /],
		];
		for (const [mount, environment, message, hint] of cases) {
			const script = `${mount} && exec env CC=${compiler} ${environment} ${process.execPath} scripts/build-native.mjs --anew`;
			const args = ["--mount", "--propagation", "private", "sh", "-c", script];
			const { status, stderr } = spawnSync("unshare", args, { cwd: folder, encoding: "utf8" });
			const [first, second = ""] = stderr.split("\n");
			assert.equal(first, `userns: ${message}`);
			assert.match(second.replace("hint: ", ""), hint);
			assert.equal(status, 1);
		}
	} finally {
		rmSync(folder, { recursive: true });
	}
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
