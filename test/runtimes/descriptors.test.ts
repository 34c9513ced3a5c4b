import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

/** Functions of node:fs that take a descriptor, with and without "Sync". */
const OF_DESCRIPTORS =
	/\b(read|readv|write|writev|fstat|fchmod|fchown|fsync|fdatasync|ftruncate|futimes|create(Read|Write)Stream)(Sync)?\b/;

/** The names that a file imports from node:fs. */
function importsOf(text: string): string[] {
	return [...text.matchAll(/import\s*\{([^}]*)\}\s*from "node:fs(?:\/promises)?"/g)].flatMap(
		([, names = ""]) => names.split(",").map((name) => name.trim()),
	);
}

test("the library reads no descriptor with node:fs, because that of Deno accepts only those that it has opened", () => {
	const folder = join(root, "src");
	const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
		// The command writes to its standard output.
		(file) => file.endsWith(".ts") && !file.startsWith("cli/"),
	);
	assert.ok(files.length > 40);
	for (const file of files) {
		const names = importsOf(readFileSync(join(folder, file), "utf8"));
		assert.deepEqual(
			names.filter((name) => OF_DESCRIPTORS.test(name)),
			[],
			file,
		);
	}
	assert.ok(OF_DESCRIPTORS.test("readSync") && !OF_DESCRIPTORS.test("readFileSync"));
});
