import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

const MODULE = pathToFileURL(join(root, "scripts/check-words.mjs")).href;
const { checkText } = (await import(MODULE)) as { checkText: (file: string, text: string) => string[] };

/** The parts of old words, so that this file passes the check. */
const [WORD, ACT, PATH, TYPE] = ["cr" + "ew", "to" + "ld", "pla" + "ce", "Wan" + "ted"];

test("check-words finds a former word in a sentence, in an identifier and in a file name", () => {
	for (const text of [`The ${WORD} ends.`, `The ${WORD}s end.`, `start_${WORD}()`, `"${WORD}"`]) {
		assert.deepEqual(checkText("docs/a.md", `One.\n${text}`), [`docs/a.md:2: "${WORD}" is now: worker pool`]);
	}
	assert.deepEqual(checkText(`native/addon/${WORD}.c`, ""), [
		`native/addon/${WORD}.c: "${WORD}" is now: worker pool`,
	]);
	assert.deepEqual(checkText("docs/a.md", `screw ${WORD}el`), []);
});

test("check-words finds an ordinary word only where it is a part of an identifier", () => {
	const code = `const is${ACT.replace("t", "T")} = 1; // nobody was ${ACT}`;
	assert.deepEqual(checkText("src/a.ts", code), [`src/a.ts:1: "${ACT}" is now: acknowledged`]);
	for (const text of [`/* ${ACT} */`, `const a = "${ACT}";`, `const a = \`${ACT}\`;`]) {
		assert.deepEqual(checkText("src/a.ts", text), [], text);
	}
	assert.deepEqual(checkText("native/mount/a.c", `int ${PATH}_open(int fd);`), [
		`native/mount/a.c:1: "${PATH}" is now: location`,
	]);
	assert.deepEqual(checkText("native/mount/a.c", "int replace;"), []);
	assert.equal(checkText("src/a.ts", `let a: ${TYPE};`).length, 1);
	assert.deepEqual(checkText("src/a.ts", `let a = ${TYPE.toLowerCase()};`), []);
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
