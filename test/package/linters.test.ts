import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { root } from "../support/child.ts";
import { runNode, toolFile, toolsFolder, withConsumer } from "../support/consumer.ts";
import { packed } from "../support/packed.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "tool:npm", "tool:tar"] as const;

test("publint finds nothing in the package", { needs }, () => {
	const url = pathToFileURL(toolFile("publint/src/index-node.js", true));
	const script = `import { publint } from ${JSON.stringify(url.href)};
		const { messages } = await publint({ pkgDir: "node_modules/userns", strict: true, pack: false });
		console.log(JSON.stringify(messages));`;
	withConsumer({ "lint.mjs": script }, (project) => {
		const messages: { code: string }[] = JSON.parse(runNode(project, "lint.mjs"));
		assert.deepEqual(messages, []);
	});
});

if (toolsFolder !== undefined) {
	// The package has no CommonJS form: attw says so for node10 and for require() in node16, which the profile leaves out.
	test("attw finds nothing in the package", { needs, timeout: 300_000 }, () => {
		const attw = toolFile("@arethetypeswrong/cli/dist/index.js");
		runNode(root, attw, packed().tarball, "--profile", "esm-only", "--exclude-entrypoints", "./package.json");
	});
}
