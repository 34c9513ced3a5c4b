// Checks that the tree uses the field's terms: no word of the former private vocabulary is left, and no comment line is
// longer than 140 characters. Prints FILE:LINE and the word for each finding.
//   check-words.mjs [FILE or FOLDER …]
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "./setup.mjs";

const LONGEST_COMMENT = 140;

/** Words that no text of the project uses, in code, comments, documents or file names, and the word to use instead. */
const ANYWHERE = {
	crew: "worker pool",
	errand: "bounded child",
	shelter: "trace guard",
	sheltered: "guarded",
	workshop: "create queue",
	deaf: "closing",
	untold: "unacknowledged",
	joiner: "join process",
};

/** Words that are ordinary English in a sentence, but no longer the name of anything. In TypeScript and C. */
const IDENTIFIERS = {
	told: "acknowledged",
	spare: "free entry",
	settle: "on_result",
	creator: "create method",
	creations: "create queue (C), create requests (TypeScript)",
	survey: "source tree",
	patience: "timeout",
};
/** The same and more in native/, where these words were names of files and prefixes; in TypeScript they are ordinary names. */
const NATIVE_IDENTIFIERS = {
	...IDENTIFIERS,
	owned: "fd registry",
	several: "batch gate",
	place: "location",
	inside: "mntns child",
	facts: "mount id",
	helper: "newidmap",
	creation: "create request",
	processor: "cpu binding",
	looking: "searching",
};
/** Names of several words, and names of which the case counts. */
const NAMES = {
	take_off: "unmount or detach, by its own name each",
	takeOff: "unmount or detach, by its own name each",
	Wanted: "CreateRequest (namespaces) or MountRequest (mounts)",
};

const CODE = new Set([".ts", ".mjs", ".c", ".h", ".go"]);
const READ = new Set([...CODE, ".md", ".sh"]);
/** Built, downloaded or found by a fuzzer; and this file, which has all of the words. */
const SKIPPED = new Set(["node_modules", "dist", "prebuilds", "reports", "corpus", "check-words.mjs"]);
/** The folders whose comments have a limit. */
const COMMENTED = /^(src|native|test|scripts|bench)\//;

const TOKENS = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g;
const COMMENT = /^(\/\/|\/\*)/;

/** The same text with everything blank but its newlines. */
function blank(text) {
	return text.replace(/[^\n]/g, " ");
}

/** Returns the code without strings, and the comments; a line has the same number in both as in the file. */
function separate(text, extension) {
	if (extension === ".sh") {
		const isComment = (line) => /^\s*#/.test(line);
		const lines = text.split("\n");
		return { code: "", comments: lines.map((line) => (isComment(line) ? line : "")).join("\n") };
	}
	if (!CODE.has(extension)) return { code: "", comments: "" };
	const code = text.replace(TOKENS, blank);
	let comments = "";
	let end = 0;
	for (const { 0: token, index } of text.matchAll(TOKENS)) {
		comments += blank(text.slice(end, index)) + (COMMENT.test(token) ? token : blank(token));
		end = index + token.length;
	}
	return { code, comments };
}

/** Returns the words of a line in lower case: openPlace and OPEN_PLACE are "open" and "place". */
function wordsOf(line) {
	return line
		.replace(/([a-z\d])([A-Z])/g, "$1 $2")
		.split(/[^A-Za-z]+/)
		.map((word) => word.toLowerCase());
}

/** Returns the key of the table that a word is, or is the plural of. */
function keyIn(table, word) {
	if (Object.hasOwn(table, word)) return word;
	const singular = word.replace(/s$/, "");
	return Object.hasOwn(table, singular) ? singular : undefined;
}

/** Returns a line for each finding in a text; `file` is its path below the root of the project. */
export function checkText(file, text) {
	const extension = extname(file);
	const { code, comments } = separate(text, extension);
	const identifiers = file.startsWith("native/") ? NATIVE_IDENTIFIERS : IDENTIFIERS;
	const found = [];
	const add = (line, what) => found.push(`${file}${line > 0 ? `:${line}` : ""}: ${what}`);
	const checkWords = (line, words, table) => {
		const hits = words.map((word) => keyIn(table, word)).filter((word) => word !== undefined);
		for (const word of new Set(hits)) add(line, `"${word}" is now: ${table[word]}`);
	};

	checkWords(0, wordsOf(basename(file)), ANYWHERE);
	const codeLines = code.split("\n");
	const commentLines = comments.split("\n");
	for (const [i, line] of text.split("\n").entries()) {
		checkWords(i + 1, wordsOf(line), ANYWHERE);
		const codeLine = codeLines[i] ?? "";
		checkWords(i + 1, wordsOf(codeLine), identifiers);
		// "fd passing" is the term; "passing" alone was a file and a prefix.
		if (extension !== ".ts" && /(?<!fd_)\bpassing_\w/.test(codeLine))
			add(i + 1, '"passing" is now: fd_passing');
		for (const [name, instead] of Object.entries(NAMES)) {
			if (new RegExp(`\\b${name}\\b`).test(codeLine)) add(i + 1, `"${name}" is now: ${instead}`);
		}
		const isLong = line.length > LONGEST_COMMENT && (commentLines[i] ?? "").trim() !== "";
		if (isLong && COMMENTED.test(file)) add(i + 1, `a comment line of ${line.length} characters`);
	}
	return found;
}

/** Returns the text files at a path and below it. */
function filesBelow(path) {
	if (!statSync(path).isDirectory()) return [path];
	return readdirSync(path, { withFileTypes: true })
		.filter(({ name }) => !name.startsWith(".") && !SKIPPED.has(name))
		.flatMap((entry) => {
			const inner = join(path, entry.name);
			if (entry.isDirectory()) return filesBelow(inner);
			return entry.isFile() && READ.has(extname(entry.name)) ? [inner] : [];
		});
}

/** Ends the process with status 1 if one of the paths has a finding. Without paths, the whole tree is checked. */
export function checkWords(paths = ["."]) {
	const files = paths.flatMap((path) => filesBelow(join(root, path)));
	const found = files.flatMap((path) => checkText(relative(root, path), readFileSync(path, "utf8")));
	if (found.length > 0) {
		console.error(
			`Words that are no longer used, and comment lines that are too long:\n  ${found.join("\n  ")}`,
		);
		process.exit(1);
	}
	console.log(`words: ${files.length} files`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	checkWords(process.argv.length > 2 ? process.argv.slice(2) : undefined);
}
