import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { mappingSyntaxes } from "../../src/index.ts";
import { targets } from "../fuzz/targets/index.ts";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

// The places that CONTRIBUTING.md names for a new grammar, and that no type requires.

test("every mapping syntax is fuzzed by a target of its name", () => {
	const names = new Set(targets.map(({ name }) => name));
	for (const syntax of Object.keys(mappingSyntaxes)) assert.ok(names.has(syntax), syntax);
});

test("the README gives the number of mapping syntaxes", () => {
	const count = Object.keys(mappingSyntaxes).length;
	const word = { 9: "nine", 10: "ten", 11: "eleven", 12: "twelve" }[count];
	assert.ok(word !== undefined, `no word for ${count}`);
	assert.match(readFileSync(join(root, "README.md"), "utf8"), new RegExp(`\\b${word} grammars`, "i"));
});
