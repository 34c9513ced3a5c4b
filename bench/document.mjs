// The results as the tables of docs/performance.md, between its two marks.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { amount, timeOf } from "./table.mjs";

const file = fileURLToPath(new URL("../docs/performance.md", import.meta.url));
const BEGIN = "<!-- written by npm run bench -- --save -->";
const END = "<!-- to here -->";

/** Padded as the formatter of Markdown in this project would. */
function markdown(header, rows) {
	const all = [header, ...rows];
	const widths = header.map((_, column) => Math.max(...all.map((row) => row[column].length)));
	const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(" | ")} |`;
	return [
		line(header),
		`| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`,
		...rows.map(line),
	].join("\n");
}

function goalText({ most, least }) {
	return [most !== undefined && `≤ ${most}`, least !== undefined && `≥ ${least}`].filter(Boolean).join(", ");
}

function goalRows({ what, ratios, values }) {
	const rows = [];
	const add = (of, goal, found) => {
		if (goal.met !== undefined) rows.push([what, of, goalText(goal), found, goal.met ? "met" : "**no**"]);
	};
	for (const { of, to, value, ratio, goal } of ratios) {
		add(`${of} / ${to}${value === "mean" ? ", mean" : ""}`, goal, `${amount(ratio)} ×`);
	}
	for (const { found, unit, goal } of values) add(unit, goal, amount(found));
	return rows;
}

/** Of the goals that were not met. */
function reasons({ what, ratios, values, why = {} }) {
	const missed = [
		...ratios.map(({ of, to, goal }) => ({ name: `${of} / ${to}`, goal })),
		...values.map(({ unit, goal }) => ({ name: unit, goal })),
	].filter(({ goal }) => goal.met === false);
	return missed.map(({ name }) => `- ${what}, ${name}: ${why[name] ?? "other work on the machine"}.`);
}

function steps(times) {
	return markdown(
		["step", "µs"],
		Object.entries(times).map(([step, time]) => [step, amount(time)]),
	);
}

function tables({ machine, loadBeforeAndAfter, rounds, mostRounds, rows, floorSteps, extras }) {
	const { date, kernel, cpu, processors, node, go, bindfs } = machine;
	const versions = [`Linux ${kernel}`, `${processors} × ${cpu}`, `Node ${node}`, go, bindfs]
		.filter(Boolean)
		.join(", ");
	const load = loadBeforeAndAfter.map((each) => each.toFixed(1)).join(" before and ");
	const left = rows.flatMap(({ what, leftOut, note }) => [
		...Object.entries(leftOut).map(([name, reason]) => `- ${what}: ${name} was left out: ${reason}.`),
		...(note ? [`- ${what}: ${note}.`] : []),
	]);
	const numbers = rows.flatMap(({ what, medians }) =>
		Object.entries(medians).map(([name, each]) => [what, name, timeOf(each)]),
	);
	const quiet =
		Math.max(...loadBeforeAndAfter) > processors ? " **Other work was running on this machine.**" : "";
	return [
		`${date}, ${versions}; ${rounds} to ${mostRounds} rounds, load ${load} after.${quiet}`,
		markdown(["what", "of", "goal", "measured", ""], rows.flatMap(goalRows)),
		"Why not, and what was left out:",
		[...rows.flatMap(reasons), ...left].join("\n") || "- Nothing.",
		"The times themselves (medians of the rounds):",
		markdown(["what", "program", "time"], numbers),
		"The floor step by step, bound to one processor, mean:",
		steps(floorSteps),
		"What the add-on does beside it, each call by itself in a loop, mean:",
		steps(extras),
	].join("\n\n");
}

export function document(result) {
	const text = readFileSync(file, "utf8");
	const [before, rest] = text.split(BEGIN);
	const after = rest?.split(END)[1];
	if (after === undefined) throw new Error(`${file} has lost its marks`);
	writeFileSync(file, `${before}${BEGIN}\n\n${tables(result)}\n\n${END}${after}`);
}
