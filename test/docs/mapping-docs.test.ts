import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Mapping, mappingSyntaxes } from "../../src/index.ts";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

const text = readFileSync(join(root, "docs/mapping.md"), "utf8");
const examples = [...text.matchAll(/^(Mapping\..*) \/\/ → (.*)$/gm)];

for (const [, code = "", expected] of examples) {
	test(`docs/mapping.md: ${code}`, () => {
		const result: unknown = new Function("Mapping", `return ${code}`)(Mapping);
		assert.equal(String(result), expected);
	});
}

test("docs/mapping.md has its examples, and every syntax in its table", () => {
	assert.ok(examples.length >= 20);
	for (const name of Object.keys(mappingSyntaxes)) assert.ok(text.includes(`\`${name}\``), name);
});
