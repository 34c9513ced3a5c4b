import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

interface Result {
	name: string;
	version: string;
	ran: string[];
	passed: number;
	skipped: number;
	failures: string[];
}

interface Runtime {
	version?: string;
	runs: string[];
}

const TABLE = new URL("../../../scripts/runtimes/table.mjs", import.meta.url).href;
const { readResults, RUNTIMES, tableOf } = (await import(TABLE)) as {
	readResults(): Result[];
	RUNTIMES: Record<string, Runtime>;
	tableOf(results: Result[]): string;
};
const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

test("the README's table of runtimes is the one that the results give", () => {
	assert.ok(readFileSync(join(root, "README.md"), "utf8").includes(`\n${tableOf(readResults())}\n`));
});

test("each result is of a runtime in the table, and of what is run with it", () => {
	for (const { name, version, ran } of readResults()) {
		const runtime = RUNTIMES[name];
		assert.ok(runtime, name);
		assert.deepEqual(ran, runtime.runs, name);
		assert.ok(version.startsWith(runtime.version ?? ""), name);
	}
});

test("a runtime without a result has a row that says so, and a failure is shown", () => {
	assert.equal(tableOf([]).match(/\| not run /g)?.length, Object.keys(RUNTIMES).length);
	const [first] = readResults();
	assert.ok(first);
	assert.match(tableOf([{ ...first, failures: ["a test"] }]), /\*\*1 failed\*\*/);
});

test("the lowest versions that engines and the README promise ran what users call, and require()", () => {
	const nodes = [...engines.node.matchAll(/\d+\.\d+\.\d+/g)].map(([version]) => `node-${version}`);
	assert.equal(nodes.length, 2);
	const readme = readFileSync(join(root, "README.md"), "utf8").replaceAll(/\s+/g, " ");
	const [, bun, deno] = /Bun (\d+\.\d+) and Deno (\d+\.\d+) or later run it too/.exec(readme) ?? [];
	for (const name of [...nodes, `bun-${bun}.0`, `deno-${deno}.0`]) {
		const result = readResults().find((each) => each.name === name);
		assert.deepEqual([result?.version, result?.failures], [name.split("-")[1], []], name);
		assert.ok(result?.ran.includes("require") && result.ran.includes("suite"));
	}
});
