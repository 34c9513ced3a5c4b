import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../support/child.ts";
import { withConsumer, withPackages } from "../support/consumer.ts";
import { packed } from "../support/packed.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "tool:npm", "tool:tar"] as const;

test("publint finds nothing in the package", { needs }, () => {
	const url = pathToFileURL(join(root, "node_modules/publint/src/index-node.js"));
	const script = `import { publint } from ${JSON.stringify(url.href)};
		const { messages } = await publint({ pkgDir: "node_modules/userns", strict: true, pack: false });
		console.log(JSON.stringify(messages));`;
	withConsumer({ "lint.mjs": script }, (project) => {
		const { stdout, stderr } = spawnSync(process.execPath, ["lint.mjs"], { cwd: project, encoding: "utf8" });
		assert.equal(stdout, "[]\n", stderr);
	});
});

// The package has ES modules only. The profile leaves out what attw says of node10 and of require().
test("attw finds nothing in the package", { needs: [...needs, "long"], timeout: 300_000 }, () => {
	const folder = withPackages("attw", ["@arethetypeswrong/cli@0.18.5"]);
	const attw = join(folder, "node_modules/@arethetypeswrong/cli/dist/index.js");
	const args = [attw, packed().tarball, "--profile", "esm-only", "--exclude-entrypoints", "./package.json"];
	const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
	assert.equal(status, 0, stdout + stderr);
});
