import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { commandWords } from "../../src/cli/command-words.ts";
import { root } from "../support/child.ts";
import { helpPages } from "../support/help-pages.ts";
import { test } from "../support/test.ts";

/** The string literals of the library's source that are sentences, without comments; `${…}` is X. */
function sentences(): { where: string; text: string }[] {
	const found: { where: string; text: string }[] = [];
	for (const file of readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })) {
		if (!file.endsWith(".ts") || file.startsWith("cli")) continue;
		const lines = readFileSync(join(root, "src", file), "utf8").split("\n");
		lines.forEach((line, i) => {
			if (/^\s*(\/?\*|\/\/)/.test(line)) return;
			// The TypeError of a constructor that a program called; no command can cause it.
			if (line.includes("throw illegalConstructor(")) return;
			for (const [literal] of line.matchAll(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`/g)) {
				const text = literal
					.slice(1, -1)
					.replaceAll(/\$\{(?:[^{}]|\{[^{}]*\})*\}/g, "X")
					.replaceAll(/\\(.)/g, "$1");
				if (/\S \S/.test(text)) found.push({ where: `src/${file}:${i + 1}`, text });
			}
		});
	}
	return found;
}

const flagsIn = (text: string): string[] => text.match(/(?<![\w-])--[a-z][a-z-]*/g) ?? [];

test("every option that a message or hint of the library names is translated to one that the command has", () => {
	const flags = new Set([...helpPages().values()].flatMap(flagsIn));
	assert.ok(flags.has("--skip-unsupported"));
	let forms = 0;
	for (const { where, text } of sentences()) {
		const translated = commandWords(text);
		if (/\{ [a-z]\w*: /.test(text)) forms++;
		assert.doesNotMatch(translated, /\{ ?[a-z]\w*: /, where);
		const own = flagsIn(text);
		for (const flag of flagsIn(translated))
			assert.ok(own.includes(flag) || flags.has(flag), `${where}: ${flag}`);
	}
	assert.ok(forms > 0);
});

test("a message or hint of the library is at most two lines of 100 characters, without its operands", () => {
	for (const { where, text } of sentences()) assert.ok(text.replaceAll("X", "").length <= 200, where);
});

/** Functions in hints of errors that no command can cause. */
const LIBRARY_ONLY = ["dup", "close"];

test("every function of the library that a message or hint names is translated to a command", () => {
	const commands = [...helpPages().keys()];
	for (const { where, text } of sentences()) {
		const translated = commandWords(text);
		// `name(2)` is a manual page.
		for (const [call, name = ""] of translated.matchAll(/(?<![\w.])([A-Za-z][\w.]*)\((?!\d)[^()]*\)/g))
			assert.ok(LIBRARY_ONLY.includes(name), `${where}: ${call}`);
		for (const [, name = ""] of translated.matchAll(/userns (?!COMMAND)([a-z]+) /g))
			if (!text.includes(`userns ${name}`))
				assert.ok(commands.includes(`userns ${name}`), `${where}: ${name}`);
	}
});

test("an option, a function and an extent in the words of the command", () => {
	const cases: [text: string, expected: string][] = [
		['Set { setgroups: "allow" } here.', "Set --setgroups allow here."],
		["Set { recursive: true }.", "Set --recursive."],
		["Set { recursiveIdmap: false }.", "Set --map-root-only."],
		["Leave { recursive: true } out.", "Leave --recursive out."],
		['{ nested: "replace", recursive: true }', "--nested replace --recursive"],
		['{ unshare: ["mount", "pid"] }', "--unshare mount,pid"],
		["{ groups: [] }", "--groups ''"],
		["{ groups: [1, 2] }", "--groups 1,2"],
		['{ user: { name: "alpha" } }', "--user alpha"],
		["{ user: { name: … } }", "--user …"],
		["{user: {name: …}}", "--user …"],
		["{ into: pid }", "--into PID"],
		["{ pid: 5 }", "--pid 5"],
		["{ idmapped: false }", "--all"],
		["{ keepId: true }", "--map keep-id"],
		['{ mapping: "0:1:1 2:3:1" }', "--map '0:1:1 2:3:1'"],
		["{ containerID: 0, size: 1 }", '{ "containerID": 0, "size": 1 }'],
		[
			"call unmount(path, { recursive: true }) or mounts().",
			'call "userns umount --recursive PATH" or "userns mounts".',
		],
		["unmountAsync(path)", '"userns umount PATH"'],
		["pin(namespace, path)", '"userns create --at PATH"'],
		["Mapping.rootless() or Mapping.rootless({ keepId: true })", "--map auto or --map keep-id"],
		["mountIdmapped: into must be a pid, not an object", "--into must be a pid, not an object"],
		["mountIdmapped: skipUnsupported needs recursiveIdmap", "--skip-unsupported needs --recursive"],
		["Leave recursiveIdmap out.", "Leave --map-root-only out."],
		["For targetRoot, resolve and into (openat2(2))", "For --target-root, --resolve and --into (openat2(2))"],
		["with into, the target is", "with --into, the target is"],
		["put it there, and into the other, or replace it", "put it there, and into the other, or replace it"],
		["Leave into out, and leave it out.", "Leave --into out, and leave it out."],
		// Words of a sentence, and a manual page.
		["put it into the recursive mount(2)", "put it into the recursive mount(2)"],
		// An operand is whatever the caller gave.
		['cannot mount "/a/{ setgroups: 1 }/mounts()"', 'cannot mount "/a/{ setgroups: 1 }/mounts()"'],
		['cannot mount "/a\\"{ setgroups: 1 }"', 'cannot mount "/a\\"{ setgroups: 1 }"'],
	];
	for (const [text, expected] of cases) assert.equal(commandWords(text), expected);
});
