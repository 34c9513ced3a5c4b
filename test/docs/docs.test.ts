import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as userns from "../../src/index.ts";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

test("docs/errors.md explains every code in the words of the table, and none that does not exist", () => {
	const text = readFileSync(join(root, "docs/errors.md"), "utf8");
	const headings = [...text.matchAll(/^## (.*)$/gm)].map(([, code]) => code);
	assert.deepEqual(headings, Object.keys(userns.explanations));
	for (const [code, explanation] of Object.entries(userns.explanations)) {
		const section = text.split(`## ${code}\n\n`)[1]?.replaceAll("\n", " ").replaceAll("’", "'") ?? "";
		assert.equal(section.slice(0, explanation.length + 1).toLowerCase(), `${explanation}.`.toLowerCase());
	}
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

/** Every document that people read, below the root of the project. */
const DOCUMENTS = [
	...["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"],
	...["docs", "native", "src"].flatMap((folder) =>
		readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
			.filter((file) => file.endsWith(".md"))
			.map((file) => join(folder, file)),
	),
];

test("the documents name only files that exist, and their links lead to files", () => {
	const missing: string[] = [];
	for (const name of DOCUMENTS) {
		const text = readFileSync(join(root, name), "utf8");
		const named = [...text.matchAll(/`((?:src|test|native|scripts|docs|bench|examples)\/[\w./-]+)`/g)];
		const native = [...text.matchAll(/`((?:addon|child|kernel|mount|proc|programs|userns)\/[\w./-]+)`/g)];
		const links = [...text.matchAll(/\]\(((?!https?:)[^)#]+)[^)]*\)/g)];
		const paths = [
			...named.map(([, path = ""]) => join(root, path)),
			...native.map(([, path = ""]) => join(root, "native", path)),
			...links.map(([, path = ""]) => join(root, dirname(name), path)),
		];
		// NAME and FOLDER stand for the file that a change adds.
		const wrong = paths.filter((path) => !existsSync(path) && !/\b(NAME|FOLDER)\b/.test(path));
		missing.push(...wrong.map((path) => `${name}: ${path}`));
	}
	assert.deepEqual(missing, []);
});

/** The documents about the source, which name its functions. */
const ABOUT_THE_SOURCE =
	/^(CONTRIBUTING|docs\/architecture|docs\/security-review|(native|src)\/\w+\/README)\.md$/;

/** Functions of the kernel that these documents name. */
const OF_THE_KERNEL = new Set([
	"do_lock_mount",
	"fuse_flush",
	"inode_lock",
	"is_path_reachable",
	"ptrace_may_access",
]);

test("the documents about the source name only identifiers that are in it", () => {
	const source = ["src", "native", "scripts", "bench", "test"]
		.flatMap((folder) =>
			readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
				.filter((file) => /\.(ts|mjs|c|h)$/.test(file))
				.map((file) => readFileSync(join(root, folder, file), "utf8")),
		)
		.join("\n");
	const words = new Set(source.match(/\w+/g));
	for (const name of DOCUMENTS.filter((document) => ABOUT_THE_SOURCE.test(document))) {
		// The last section of docs/architecture.md names functions of runc.
		const text = readFileSync(join(root, name), "utf8").split("\n## runc's")[0] ?? "";
		const quoted = [...text.matchAll(/`([a-zA-Z_]\w+)(?:\([^`]*\))?`/g)].map(([, word = ""]) => word);
		const called = [...text.matchAll(/\b(\w+)\(\)/g)].map(([, word = ""]) => word);
		const named = [...quoted, ...called].filter((word) => !OF_THE_KERNEL.has(word));
		assert.deepEqual(
			named.filter((word) => !words.has(word)),
			[],
			name,
		);
	}
});

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
