import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

const MODULE = pathToFileURL(join(root, "scripts/check-words.mjs")).href;
const { checkText } = (await import(MODULE)) as { checkText: (file: string, text: string) => string[] };

/** The parts of old words, so that this file passes the check. */
const [CREW, TOLD, PLACE, WANTED] = ["cr" + "ew", "to" + "ld", "pla" + "ce", "Wan" + "ted"];

test("check-words finds a former word in a sentence, in an identifier and in a file name", () => {
	for (const text of [`The ${CREW} ends.`, `The ${CREW}s end.`, `start_${CREW}()`, `"${CREW}"`]) {
		assert.deepEqual(checkText("docs/a.md", `One.\n${text}`), [`docs/a.md:2: "${CREW}" is now: worker pool`]);
	}
	assert.deepEqual(checkText(`native/addon/${CREW}.c`, ""), [
		`native/addon/${CREW}.c: "${CREW}" is now: worker pool`,
	]);
	assert.deepEqual(checkText("docs/a.md", `screw ${CREW}el`), []);
});

test("check-words finds an ordinary word only where it is a part of an identifier", () => {
	const code = `const is${TOLD.replace("t", "T")} = 1; // nobody was ${TOLD}`;
	assert.deepEqual(checkText("src/a.ts", code), [`src/a.ts:1: "${TOLD}" is now: acknowledged`]);
	for (const text of [`/* ${TOLD} */`, `const a = "${TOLD}";`, `const a = \`${TOLD}\`;`]) {
		assert.deepEqual(checkText("src/a.ts", text), [], text);
	}
	assert.deepEqual(checkText("native/mount/a.c", `int ${PLACE}_open(int fd);`), [
		`native/mount/a.c:1: "${PLACE}" is now: location`,
	]);
	assert.deepEqual(checkText("native/mount/a.c", "int replace;"), []);
	assert.equal(checkText("src/a.ts", `let a: ${WANTED};`).length, 1);
	assert.deepEqual(checkText("src/a.ts", `let a = ${WANTED.toLowerCase()};`), []);
});

test("check-words finds a comment line of more than 140 characters, and no long line of code or of a document", () => {
	const long = "x".repeat(140);
	assert.deepEqual(checkText("src/a.ts", `\n/*\n * ${long}\n */`), [
		"src/a.ts:3: a comment line of 143 characters",
	]);
	assert.equal(checkText("native/a.c", `// ${long}`).length, 1);
	assert.equal(checkText("scripts/a.sh", `# ${long}`).length, 1);
	assert.deepEqual(checkText("src/a.ts", `const a = "${long}";`), []);
	assert.deepEqual(checkText("docs/a.md", long), []);
});
