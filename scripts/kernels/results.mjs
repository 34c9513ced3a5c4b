// The results of the tests on other kernels, and the table that docs/kernel-features.md shows of them.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../setup.mjs";
import { USUAL } from "./machines.mjs";

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

/** The lines of a list with its heading, or nothing. */
function list(heading, entries) {
	return entries.length === 0 ? "" : `${heading}\n\n${entries.map((entry) => `- ${entry}\n`).join("")}\n`;
}

/** Returns the text of the block for the results of runs. It also names the folders that none of them ran. */
export function resultsBlock(results, kernels) {
	const versions = [...new Set(results.map((result) => result.version))];
	const rows = versions.map((version) => [
		version,
		...FOLDERS.map((folder) => cell(results.find((one) => one.version === version && one.tests === folder))),
	]);
	const failed = results.flatMap(({ version, tests, failed }) =>
		(failed ?? []).map((name) => `${version}, ${tests}: ${name}`),
	);
	const absent = kernels
		.map((kernel) => [
			kernel,
			FOLDERS.filter((folder) => !results.some((one) => one.kernel === kernel && one.tests === folder)),
		])
		.filter(([, folders]) => folders.length > 0)
		.map(([kernel, folders]) => `${kernel}: ${folders.join(", ")}`);
	return `\n${table([["Linux", ...FOLDERS], ...rows])}\n\n${list("These tests failed:", failed)}${list("These folders were not run:", absent)}`;
}

/** Returns the text of a document with the block of these results in it. */
export function withResults(text, results, kernels = USUAL) {
	return text.replace(BLOCK, (_, start, end) => `${start}${resultsBlock(results, kernels)}${end}`);
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
