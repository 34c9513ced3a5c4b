import assert from "node:assert/strict";
import { userns } from "../support/child.ts";
import { helpPages } from "../support/help-pages.ts";
import { test } from "../support/test.ts";

test("every help page fits 80 columns, names its command, and has a summary and one example", () => {
	const pages = helpPages();
	assert.equal(pages.size, 21);
	for (const [command, page] of pages) {
		for (const line of page.split("\n")) assert.ok(line.length <= 80, line);
		assert.ok(page.startsWith(`Usage: ${command} [options]`), command);
		assert.match(page, /\n\n[A-Z][^\n]{10,}\.\n\n/, command);
		assert.equal(page.match(/^Example:$/gm)?.length, 1, command);
	}
});

/** The words of the command of a page's example. */
function example(page: string): string[] {
	const line = /^Example:\n {2}userns (.*)$/m.exec(page)?.[1] ?? "";
	return line.split(" ");
}

test("an example uses the command and options of its page, and prints what the page says", () => {
	const pages = helpPages();
	for (const [command, page] of pages) {
		const words = example(page);
		assert.ok(`userns ${words.join(" ")}`.startsWith(command), command);
		const own = [...pages].filter(([name]) => `userns ${words.join(" ")} `.startsWith(`${name} `)).at(-1);
		for (const word of words.filter((each) => /^--./.test(each)))
			assert.match(own?.[1] ?? "", new RegExp(`^  ${word} `, "m"), command);
		if (!command.startsWith("userns map ")) continue;
		const { status, stdout } = userns(...words);
		assert.equal(status, 0, command);
		const printed = /^prints: (.*)$/m.exec(page)?.[1];
		if (printed !== undefined) assert.equal(stdout, `${printed}\n`, command);
	}
});

test("the hint of wrong usage names the command that was used", () => {
	for (const command of helpPages().keys()) {
		const { stderr } = userns(...command.split(" ").slice(1), "--no-such-option");
		assert.match(stderr, new RegExp(`\nhint: See "${command} --help".\n$`), command);
	}
	assert.match(userns("map", "translate", "0:1:1").stderr, /hint: See "userns map translate --help"/);
});
