import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

interface Result {
	name: string;
	kernel: string;
	versions: Record<string, string>;
	passed: number;
	skipped: number;
	failures: string[];
}

const TABLE = new URL("../../../scripts/runtimes/clients.mjs", import.meta.url).href;
const { COLUMNS, readResults, tableOf, versionsOf } = (await import(TABLE)) as {
	COLUMNS: Record<string, string>;
	readResults(): Result[];
	tableOf(results: Result[]): string;
	versionsOf(packages: string[]): Record<string, string>;
};
const text = readFileSync(join(root, "docs/clients.md"), "utf8");

test("the table of docs/clients.md is the one that the results give", () => {
	assert.ok(text.includes(`\n${tableOf(readResults())}\n`));
});

test("each result is complete: every test ran, none failed, and the kernel is the one that the page names", () => {
	assert.deepEqual(
		readResults().map(({ name }) => name),
		Object.keys(COLUMNS),
	);
	for (const { kernel, versions, passed, skipped, failures } of readResults()) {
		assert.ok(passed > 60);
		assert.deepEqual([skipped, failures], [0, []]);
		for (const [program, version] of Object.entries(versions)) assert.match(version, /^\d[\d.-]*$/, program);
		assert.ok(text.includes(`Linux ${kernel.split(".").slice(0, 2).join(".")}`));
	}
});

test("a failed and a skipped test are shown, and versions are those of the programs' authors", () => {
	const [first, ...others] = readResults();
	assert.ok(first);
	const bad = tableOf([{ ...first, failures: ["a test"], skipped: 2 }, ...others]);
	assert.match(bad, /passed, 1 failed, 2 left out/);
	const versions = versionsOf(
		[
			"bubblewrap=0.13.1-1",
			"crun=1.28-1",
			"runc=1.4.3+ds1-1",
			"util-linux=2.42.4-1",
			"uidmap=1:4.20.3-1",
		].concat(
			["podman=5.8.6+ds1-3", "systemd-container=262.1-1", "lxc=1:7.0.0-2+b1", "slirp4netns=1.3.3-1"],
			["passt=0.0~git20261002.cba3570-1"],
		),
	);
	assert.deepEqual(Object.values(versions), [
		...["0.13.1", "1.28", "1.4.3", "2.42.4", "4.20.3", "5.8.6", "262.1", "7.0.0", "1.3.3", "2026-10-02"],
	]);
});
