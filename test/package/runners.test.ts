import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { runNode, toolFile, toolsFolder, withConsumer } from "../support/consumer.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "tool:npm", "tool:tar"] as const;

/** A test of a program that uses the package. The same text for both test runners. */
const TEST = `import { once } from "node:events";
import { Handles, Mapping } from "userns";

test("a program runs in a user namespace", async () => {
	const handles = new Handles();
	const namespace = await handles.get("0:2100000000:65536");
	expect((await namespace.mapping()).equals(Mapping.from("0:2100000000:65536"))).toBe(true);
	const child = namespace.spawn("id", ["-u"]);
	let printed = "";
	child.stdout.on("data", (text) => { printed += text; });
	const [status] = await once(child, "close");
	expect([status, printed]).toEqual([0, "0\\n"]);
	namespace.close();
	handles.release();
});
`;

/** The packages of the long form, which the test runner finds as if they were installed in the project. */
function link(project: string, ...names: string[]): void {
	for (const name of names) symlinkSync(toolFile(name), join(project, "node_modules", name));
}

if (toolsFolder !== undefined) {
	test("jest runs a test that uses the package", { needs, timeout: 300_000 }, () => {
		withConsumer(
			{ "sum.test.js": TEST, "jest.config.json": '{ "transform": {}, "rootDir": "." }' },
			(project) => {
				link(project, "jest");
				const jest = toolFile("jest/bin/jest.js");
				const flags = ["--config", "jest.config.json", "--json", "--runInBand", "--watchman=false"];
				const { numPassedTests, success } = JSON.parse(
					runNode(project, "--experimental-vm-modules", "--no-warnings", jest, ...flags),
				);
				assert.deepEqual({ numPassedTests, success }, { numPassedTests: 1, success: true });
			},
		);
	});

	test("vitest runs a test that uses the package", { needs, timeout: 300_000 }, () => {
		withConsumer({ "sum.test.js": TEST }, (project) => {
			link(project, "vitest");
			const vitest = toolFile("vitest/vitest.mjs");
			const { numPassedTests, success } = JSON.parse(
				runNode(project, vitest, "run", "--globals", "--reporter=json", "--config=false"),
			);
			assert.deepEqual({ numPassedTests, success }, { numPassedTests: 1, success: true });
		});
	});
}
