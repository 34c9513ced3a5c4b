import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as userns from "../../src/index.ts";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

test("docs/errors.md explains every code, and none that does not exist", () => {
	const text = readFileSync(join(root, "docs/errors.md"), "utf8");
	const headings = [...text.matchAll(/^## (.*)$/gm)].map(([, code]) => code);
	assert.deepEqual(headings, Object.keys(userns.explanations));
	const mentioned = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
		.filter((file) => file.endsWith(".md"))
		.flatMap(
			(file) => readFileSync(join(root, "docs", file), "utf8").match(/ERR_USERNS_[A-Z_]*[A-Z]/g) ?? [],
		);
	for (const code of mentioned) assert.ok(Object.hasOwn(userns.explanations, code), code);
});

test("the README names everything that is exported, and its links lead somewhere", () => {
	const text = readFileSync(join(root, "README.md"), "utf8");
	for (const name of Object.keys(userns)) {
		if (name === "explanations" || name === "IdmappedMount") continue;
		assert.match(text, new RegExp(`\\b${name}\\b`), name);
	}
	for (const [, target = ""] of text.matchAll(/\]\(([^)]+)\)/g)) readdirOrRead(join(root, target));
});

function readdirOrRead(path: string): void {
	if (path.endsWith("/")) readdirSync(path);
	else readFileSync(path);
}

test("no table of the documents has a second heading in its middle, as after a merge", () => {
	for (const name of [
		"README.md",
		...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).map((file) =>
			join("docs", file),
		),
	]) {
		if (!name.endsWith(".md")) continue;
		const lines = readFileSync(join(root, name), "utf8").split("\n");
		const rules = lines.flatMap((line, i) =>
			/^\| ?:?-+[ |:-]*\|$/.test(line) && lines[i - 2]?.startsWith("|") ? [i + 1] : [],
		);
		assert.deepEqual(rules, [], `${name}: lines ${rules}`);
	}
});

test("each ADR has a number, title, status, date and three sections, and docs/adr/README.md lists it", () => {
	const folder = join(root, "docs/adr");
	const files = readdirSync(folder)
		.filter((file) => file !== "README.md")
		.sort();
	const link = (number: string) => `[ADR ${number}](${files.find((file) => file.startsWith(`${number}-`))})`;
	const rows = files.map((file) => {
		const text = readFileSync(join(folder, file), "utf8");
		const form =
			/^# (\d{3})\. (.+)\n\nStatus: (accepted|superseded by ADR \d{3})\n\nDate: (\d{4}-\d\d-\d\d)\n\n## Context\n/;
		const [, number = "", title, status = "", date] = form.exec(text) ?? [];
		assert.ok(number !== "" && file.startsWith(`${number}-`), file);
		const sections = [...text.matchAll(/^## (.*)$/gm)].map(([, section]) => section);
		assert.deepEqual(sections, ["Context", "Decision", "Consequences"], file);
		for (const [, path = ""] of text.matchAll(/`((?:src|native|test|bench|scripts)\/[^`]*)`/g)) {
			assert.ok(existsSync(join(root, path)), `${file} names ${path}`);
		}
		for (const [, target = ""] of text.matchAll(/\]\(([^)]+)\)/g)) readdirOrRead(join(folder, target));
		const shown = status.replace(/ADR (\d{3})/, (_, other) => link(other));
		return [`[${number}](${file})`, title, shown, date];
	});
	const index = readFileSync(join(folder, "README.md"), "utf8");
	const listed = [...index.matchAll(/^\| (\[\d.*) \|$/gm)].map(([, row = ""]) => row.split(/ +\| /));
	assert.deepEqual(listed, rows);
});
