import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mappingSyntaxes } from "../../src/index.ts";
import { targets } from "../fuzz/targets/index.ts";
import { root } from "../support/child.ts";
import { nativeNumber } from "../support/native-source.ts";
import { test } from "../support/test.ts";

// The places that CONTRIBUTING.md names for a change, and that neither the compiler nor another test requires.

test("every mapping syntax is fuzzed by a target of its name", () => {
	const names = new Set(targets.map(({ name }) => name));
	for (const syntax of Object.keys(mappingSyntaxes)) assert.ok(names.has(syntax), syntax);
});

test("each text that gives a time limit gives that of native/kernel/time-limits.h", () => {
	const header = readFileSync(join(root, "native/kernel/time-limits.h"), "utf8");
	const files = ["README.md", ...filesBelow("docs"), ...filesBelow("src"), ...filesBelow("test/fault")];
	for (const [name, words] of [
		["BOUNDED_CHILD_TIMEOUT_MS", { 10000: /\bten seconds\b/i }],
		["NEWIDMAP_TIMEOUT_MS", { 30000: /\b30 seconds\b/ }],
	] as const) {
		const limit = new RegExp(`^#define ${name} (\\d+)$`, "m").exec(header)?.[1] ?? "";
		const [[value, text]] = Object.entries(words) as [[string, RegExp]];
		const found = files.filter((file) => text.test(readFileSync(join(root, file), "utf8")));
		assert.ok(found.length > 1);
		assert.equal(limit, value, `change "${text.source}" in ${found.join(", ")}`);
	}
});

test("the documents give the time limits of reading a mount table as src/mount/mountinfo.ts has them", () => {
	const source = readFileSync(join(root, "src/mount/mountinfo.ts"), "utf8");
	const [, now, later] = /^const MOST_MS = \{ now: (\d+)_000, later: (\d+)_000 \}/m.exec(source) ?? [];
	assert.ok(now !== undefined && later !== undefined);
	const mounts = readFileSync(join(root, "src/mount/mounts.ts"), "utf8").replaceAll(/\n \* /g, " ");
	assert.ok(mounts.includes(`does not write within ${now} seconds`));
	assert.ok(mounts.includes(`on another thread, within ${later} seconds`));
	const text = readFileSync(join(root, "docs/mounts.md"), "utf8").replaceAll("\n", " ");
	assert.ok(text.includes(`\`mounts()\` gives up after ${now} seconds and \`mountsAsync()\` after ${later}`));
});

test("docs/architecture.md gives the numbers of threads as native/addon/worker-pool.c has them", () => {
	const text = readFileSync(join(root, "docs/architecture.md"), "utf8");
	const given = [...text.matchAll(/`([A-Z_]+)` \((\d+)\)/g)].map(([, name = "", value]) => [
		name,
		Number(value),
	]);
	const names = ["MOST_THREADS", "ALL_THREADS", "MOST_SLOW", "MOST_UNDELIVERED"];
	assert.deepEqual(
		new Map(given as [string, number][]),
		new Map(names.map((name) => [name, nativeNumber("addon/worker-pool.c", name)])),
	);
});

function filesBelow(folder: string): string[] {
	return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
		.filter((name) => /\.(md|ts)$/.test(name))
		.map((name) => join(folder, name));
}
