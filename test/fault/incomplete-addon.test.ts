import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageForAll } from "../support/child.ts";
import { test } from "../support/test.ts";

/** Loads the add-on of a copy of the package whose native file has other bytes. */
function load(change: (whole: Buffer) => Buffer): { signal: string | null; output: string } {
	const folder = mkdtempSync(join(tmpdir(), "userns-incomplete-"));
	try {
		cpSync(packageForAll(), folder, { recursive: true });
		const file = join(folder, `prebuilds/userns.linux-${process.arch}.node`);
		writeFileSync(file, change(readFileSync(file)));
		const code = `import("${folder}/dist/src/library/userns.js").then((userns) => {
			try { userns.UserNamespace.createSync("0:" + process.geteuid() + ":1").close(); console.log("loaded"); }
			catch (error) { console.log(error.code, error.message, error.hint); }
		});`;
		const { signal, stdout, stderr } = spawnSync(process.execPath, ["-e", code], { encoding: "utf8" });
		return { signal, output: stdout + stderr };
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

test("the control: a whole copy is loaded", { needs: ["linux"] }, () => {
	assert.deepEqual(
		load((whole) => whole),
		{ signal: null, output: "loaded\n" },
	);
});

for (const [what, size] of [
	["no byte", () => 0],
	["a part of the ELF header", () => 40],
	["the first page", () => 4096],
	["half of the file", (all: number) => all >> 1],
	["all bytes but one", (all: number) => all - 1],
] as const) {
	test(`a native file with ${what} is an error, and not the end of the process`, { needs: ["linux"] }, () => {
		const { signal, output } = load((whole) => whole.subarray(0, size(whole.length)));
		assert.equal(signal, null);
		assert.match(
			output,
			/^ERR_USERNS_NATIVE_MISSING .*\.node is incomplete: it has \d+ bytes, and its headers need \d+ /,
		);
		assert.match(output, /Install the package again, or compile the add-on: .* build/);
	});
}

test("a native file of another kind is an error", { needs: ["linux"] }, () => {
	const { signal, output } = load(() => Buffer.from("<html>404 Not Found</html>"));
	assert.equal(signal, null);
	assert.match(output, /^ERR_USERNS_NATIVE_MISSING .*is not an ELF file for 64 bits/);
});
