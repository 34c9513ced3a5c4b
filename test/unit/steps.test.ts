import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { steps } from "../../src/native/steps.ts";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

const folder = join(root, "native");
const sources = readdirSync(folder, { recursive: true, encoding: "utf8" })
	.filter((file) => /\.[ch]$/.test(file))
	.map((file) => ({ file, text: readFileSync(join(folder, file), "utf8") }));

/**
 * The literals in each call of a function such as outcome_fail() and in each assignment to a step, and the step of each
 * method of the table that derives a descriptor.
 */
function named(text: string): string[] {
	const statements = text.matchAll(/\b(?:outcome|attach|walk)_fail\([^;]*;|(?<!, \.)\bstep = [^;]*;/g);
	const literals = [...statements].flatMap(([statement]) =>
		[...statement.matchAll(/(?<!strcmp\([^()]*)"([a-z_ ]+)"/g)].map(([, step = ""]) => step),
	);
	const derived = [...text.matchAll(/\bDERIVE\("\w+", \w+, "([a-z_ ]+)"\)/g)].map(([, step = ""]) => step);
	return [...literals, ...derived];
}

test("each step that the C part names has words for people", () => {
	const names = sources.flatMap(({ text }) => named(text));
	const entered = sources
		.filter(({ file }) => file.startsWith("programs/userns-enter/"))
		.flatMap(({ text }) =>
			[...text.matchAll(/\bfail\(&?plan, "([a-z_]+)"/g)].map(([, step]) => `enter ${step}`),
		);
	assert.ok(
		names.length > 50 && entered.length > 15,
		`${names.length} and ${entered.length} steps are found`,
	);
	assert.deepEqual(
		[...new Set([...names, ...entered])].filter((step) => !Object.hasOwn(steps, step)),
		[],
	);
});

test("each step with words is named in the C source, or by a function of src/", () => {
	const typescript = ["native", "namespace", "mount"].flatMap((name) =>
		readdirSync(join(root, "src", name))
			.filter((file) => file !== "steps.ts")
			.map((file) => readFileSync(join(root, "src", name, file), "utf8")),
	);
	const all = [...sources.map(({ text }) => text), ...typescript].join("\n");
	const missing = Object.keys(steps).filter(
		(step) => !all.includes(`"${step.replace(/^enter (?!program)/, "")}"`),
	);
	assert.deepEqual(missing, []);
});
