// The results of the tests on other kernels, and the table that docs/kernel-features.md shows of them.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../setup.mjs";

/** The folders of tests that make system calls, which are the columns of the table. */
export const FOLDERS = ["system", "cli", "rootless", "lifecycle", "clients", "matrix", "fault"];
export const RESULTS = join(root, "docs/kernel-results.json");
const DOCUMENT = join(root, "docs/kernel-features.md");
const BLOCK = /(<!-- kernel-results -->\n)[\s\S]*?(<!-- end of kernel-results -->)/;

/** Pads the cells, as the formatter of the project does. */
function table(rows) {
	const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
	const line = (cells, fill = " ") =>
		`| ${cells.map((cell, i) => cell.padEnd(widths[i], fill)).join(" | ")} |`;
	const [head, ...rest] = rows;
	return [
		line(head),
		line(
			widths.map(() => ""),
			"-",
		),
		...rest.map((row) => line(row)),
	].join("\n");
}

function cell(result) {
	if (result === undefined) return "–";
	return result.failed ? `${result.passed} / ${result.skipped} / ${result.failed.length}` : "did not end";
}

/** Returns the text of the block for the results of runs. */
export function resultsBlock(results) {
	const versions = [...new Set(results.map((result) => result.version))];
	const rows = versions.map((version) => [
		version,
		...FOLDERS.map((folder) => cell(results.find((one) => one.version === version && one.tests === folder))),
	]);
	const failed = results
		.filter((result) => result.failed?.length > 0)
		.flatMap(({ version, tests, failed }) => failed.map((name) => `- ${version}, ${tests}: ${name}`));
	return `\n${table([["Linux", ...FOLDERS], ...rows])}\n\n${failed.length > 0 ? `These tests failed:\n\n${failed.join("\n")}\n\n` : ""}`;
}

/** Returns the text of a document with the block of these results in it. */
export function withResults(text, results) {
	return text.replace(BLOCK, (_, start, end) => `${start}${resultsBlock(results)}${end}`);
}

/** Puts the result of a folder in the place of an older one, and writes the table. */
export function writeResult(fresh) {
	const old = JSON.parse(readFileSync(RESULTS, "utf8")).filter(
		({ kernel, tests }) => kernel !== fresh.kernel || tests !== fresh.tests,
	);
	const number = ({ version }) =>
		version.split(".").reduce((sum, part) => sum * 1000 + Number.parseInt(part, 10), 0);
	const all = [...old, fresh].sort(
		(a, b) => number(a) - number(b) || FOLDERS.indexOf(a.tests) - FOLDERS.indexOf(b.tests),
	);
	writeFileSync(RESULTS, `${JSON.stringify(all, undefined, "\t")}\n`);
	writeFileSync(DOCUMENT, withResults(readFileSync(DOCUMENT, "utf8"), all));
}
