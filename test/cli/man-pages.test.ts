import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root, sh } from "../support/child.ts";
import { helpPages } from "../support/help-pages.ts";
import { test } from "../support/test.ts";

const FOLDER = join(root, "dist/man");
const pages = readdirSync(FOLDER)
	.filter((name) => name.endsWith(".1"))
	.sort();
const paths = pages.map((name) => join(FOLDER, name));

test("there is a manual page for userns and for each command, and package.json lists them", () => {
	const commands = [...helpPages().keys()].filter((command) => command.split(" ").length <= 2);
	assert.deepEqual(pages, commands.map((command) => `${command.replace(" ", "-")}.1`).sort());
	const { man } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
	assert.deepEqual(
		man,
		pages.map((name) => `./dist/man/${name}`),
	);
});

/** The words of a text, without line breaks and the blanks of its layout. */
function words(text: string): string {
	return text.replaceAll(/\s+/g, " ").trim();
}

/** A manual page as a terminal shows it, without bold and underlined characters, in one long line. */
function shown(name: string): string {
	const text = sh("mandoc", "-Tutf8", "-O", "width=500", join(FOLDER, name));
	return words(
		text
			.split("\b")
			.map((part, i, all) => (i < all.length - 1 ? part.slice(0, -1) : part))
			.join("")
			.replaceAll("\u00a0", " "),
	);
}

test("a manual page has every option, every argument and every paragraph of the help page", {
	needs: ["tool:mandoc"],
}, () => {
	const texts = new Map(pages.map((name) => [name, shown(name)]));
	for (const [command, help] of helpPages()) {
		const text = texts.get(`${command.split(" ").slice(0, 2).join("-")}.1`) ?? "";
		const [usage = "", ...rest] = help.split("\n\n");
		assert.match(usage, /^Usage: /);
		for (const part of rest) {
			const heading = /^(Arguments|Options|Commands):\n/.exec(part)?.[0] ?? "";
			const entries = heading === "" ? [part.replace(/^Example:\n/, "")] : entriesOf(part, heading);
			for (const entry of entries) assert.ok(text.includes(words(entry)), `${command}: ${words(entry)}`);
		}
	}
});

/** The descriptions in a list of a help page, each without its line breaks. */
function entriesOf(part: string, heading: string): string[] {
	return part
		.slice(heading.length)
		.split(/\n {2}(?=\S)/)
		.map((entry) => words(entry.replace(/^ */, "")).replaceAll(/[<>[\]]/g, ""))
		.filter((entry) => !/^(help command|\w+ options)/.test(entry));
}

test("mandoc finds nothing to complain about in the manual pages", { needs: ["tool:mandoc"] }, () => {
	const { status, stdout } = spawnSync("mandoc", ["-Tlint", ...paths], { encoding: "utf8" });
	assert.equal(stdout, "");
	assert.equal(status, 0);
});

test("groff formats the manual pages without a warning", { needs: ["tool:groff"] }, () => {
	for (const path of paths) {
		const { status, stderr } = spawnSync("groff", ["-man", "-ww", "-Tutf8", path], { encoding: "utf8" });
		assert.equal(stderr, "", path);
		assert.equal(status, 0);
	}
});
