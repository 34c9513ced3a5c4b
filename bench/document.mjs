// Writes the results as the tables of docs/performance.md, between its two marks.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { amount, nameOf, timeOf } from "./table.mjs";

const file = fileURLToPath(new URL("../docs/performance.md", import.meta.url));
const BEGIN = "<!-- written by npm run bench -- --save -->";
const END = "<!-- to here -->";

/** Padded as the formatter of Markdown pads it. */
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
		const judged = goal.met === undefined ? "" : goal.met ? "met" : "**no**";
		rows.push([what, of, goalText(goal), found, judged]);
	};
	for (const ratio of ratios) add(nameOf(ratio), ratio.goal, `${amount(ratio.ratio)} ×`);
	for (const { found, unit, goal } of values) add(unit, goal, amount(found));
	return rows;
}

/** Why the goals that were missed were missed. */
function reasons({ what, ratios, values, why = {} }, busy) {
	const missed = [
		...ratios.map((ratio) => ({ name: nameOf(ratio), goal: ratio.goal })),
		...values.map(({ unit, goal }) => ({ name: unit, goal })),
	].filter(({ goal }) => goal.met === false);
	return missed.map(
		({ name }) =>
			`- ${what}, ${name}: ${why[name] ?? (busy ? "other work on the machine" : "the reason is not known")}.`,
	);
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
	const busy = Math.max(...loadBeforeAndAfter) > processors;
	const note = busy ? " **Other work was running on this machine.**" : "";
	return [
		`${date}, ${versions}; ${rounds} to ${mostRounds} rounds, load ${load} after.${note}`,
		markdown(["what", "of", "goal", "measured", ""], rows.flatMap(goalRows)),
		"Why goals are missed, and what was left out:",
		[...rows.flatMap((row) => reasons(row, busy)), ...left].join("\n") || "- Nothing.",
		"The times themselves (medians of the rounds):",
		markdown(["what", "program", "time"], numbers),
		"The floor step by step, bound to one CPU, mean:",
		steps(floorSteps),
		"The further steps of the add-on, each call by itself in a loop, mean:",
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
