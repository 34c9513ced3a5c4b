import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

interface Result {
	kernel: string;
	version: string;
	tests: string;
	seconds: number;
	passed?: number;
	skipped?: number;
	failed?: string[];
}

const MODULE = pathToFileURL(join(root, "scripts/kernels/results.mjs")).href;
const { FOLDERS, RESULTS, withResults } = (await import(MODULE)) as {
	FOLDERS: string[];
	RESULTS: string;
	withResults: (text: string, results: readonly Result[], kernels?: readonly string[]) => string;
};
const results = JSON.parse(readFileSync(RESULTS, "utf8")) as Result[];
const document = readFileSync(join(root, "docs/kernel-features.md"), "utf8");
const BLOCK = /<!-- kernel-results -->\n([\s\S]*)<!-- end of kernel-results -->/;

/** The cells of the lines of the table. */
function table(text: string): string[][] {
	const lines =
		BLOCK.exec(text)?.[1]
			?.split("\n")
			.filter((line) => line.startsWith("|")) ?? [];
	return lines.map((line) =>
		line
			.slice(1, -1)
			.split("|")
			.map((cell) => cell.trim()),
	);
}

test("every result of the tests on other kernels is in the table of kernel-features.md, and nothing else", () => {
	const [head, , ...rows] = table(document);
	assert.deepEqual(head, ["Linux", ...FOLDERS]);
	assert.ok(results.length > 0);
	for (const { version, tests, passed, skipped, failed } of results) {
		const row = rows.find(([name]) => name === version);
		const cell = row?.[FOLDERS.indexOf(tests) + 1];
		assert.equal(
			cell,
			failed ? `${passed} / ${skipped} / ${failed.length}` : "did not end",
			`${version} ${tests}`,
		);
		for (const name of failed ?? []) assert.ok(document.includes(`- ${version}, ${tests}: ${name}\n`), name);
	}
	assert.equal(
		rows.flat().filter((cell) => cell.includes(" / ") || cell === "did not end").length,
		results.length,
	);
	assert.equal(withResults(document, results), document);
});

test("the table shows failed tests, machines that did not end, and folders that did not run", () => {
	const one = { kernel: "1.2", version: "1.2.3", seconds: 1 };
	const text = withResults(
		"<!-- kernel-results -->\nold\n<!-- end of kernel-results -->",
		[
			{ ...one, tests: "system", passed: 5, skipped: 2, failed: ["a test"] },
			{ ...one, tests: "cli" },
		],
		["1.2", "1.3"],
	);
	assert.deepEqual(table(text)[2], ["1.2.3", "5 / 2 / 1", "did not end", ...FOLDERS.slice(2).map(() => "–")]);
	assert.match(text, /\n- 1\.2\.3, system: a test\n/);
	assert.match(text, /\n- 1\.2: rootless, lifecycle, clients, matrix, fault\n- 1\.3: system, cli, rootless,/);
	assert.doesNotMatch(text, /\nold\n/);
});
