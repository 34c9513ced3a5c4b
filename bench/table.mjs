// The results for people.

export function amount(number) {
	if (number >= 100) return `${Math.round(number)}`;
	return number >= 10 ? number.toFixed(1) : number.toFixed(2);
}

function goalOf({ most, least, met }) {
	if (met === undefined) return "";
	const bounds = [most !== undefined && `at most ${most}`, least !== undefined && `at least ${least}`];
	return `goal ${bounds.filter(Boolean).join(", ")}: ${met ? "met" : "NOT MET"}`;
}

export function timeOf(medians) {
	const { cpu, loopHeld } = medians;
	const more = [
		cpu !== undefined && `CPU ${amount(cpu)}`,
		loopHeld !== undefined && `event loop ${amount(loopHeld)}`,
	];
	if (medians.p50 !== undefined) {
		const parts = [`p90 ${amount(medians.p90)}`, `mean ${amount(medians.mean)}`, ...more].filter(Boolean);
		return `${amount(medians.p50)} µs  (${parts.join(", ")})`;
	}
	if (loopHeld !== undefined) return `event loop ${amount(loopHeld)} µs`;
	if (medians.perSecond !== undefined) return `${amount(medians.perSecond)} a second`;
	if (medians.createEach !== undefined)
		return `${amount(medians.createEach)} µs to create each, ${amount(medians.closeEach)} to close`;
	return medians.bytes === undefined ? "" : `${amount(medians.bytes)} bytes each`;
}

const VALUES = { mean: ", mean", cpu: ", CPU", loopHeld: ", event loop" };

/** The name of a ratio, also among the reasons of a row. */
export function nameOf({ of, to, value }) {
	return `${of} / ${to}${VALUES[value] ?? ""}`;
}

function printColumns(rows) {
	const widths = [0, 0];
	for (const row of rows) for (const i of [0, 1]) widths[i] = Math.max(widths[i], row[i].length);
	for (const [first, second, third] of rows) {
		console.log(`  ${first.padEnd(widths[0])}  ${second.padEnd(widths[1])}  ${third}`.trimEnd());
	}
}

export function printTable({ machine, loadBeforeAndAfter, form, rounds, rows, floorSteps, extras }) {
	const { kernel, cpu, processors, node, go } = machine;
	console.log(`Linux ${kernel}, ${processors} × ${cpu}, Node ${node}${go ? `, ${go}` : ""}`);
	console.log(
		`${form} form, ${rounds} rounds, load ${loadBeforeAndAfter.map((load) => load.toFixed(1)).join(" → ")}\n`,
	);
	for (const { what, note, medians, ratios, values, leftOut } of rows) {
		console.log(`${what}${note ? ` (${note})` : ""}`);
		printColumns([
			...Object.entries(medians).map(([name, each]) => [name, timeOf(each), ""]),
			...ratios.map((ratio) => [nameOf(ratio), `${amount(ratio.ratio)} ×`, goalOf(ratio.goal)]),
			...values.map(({ of, found, unit, goal }) => [of, `${amount(found)} ${unit}`, goalOf(goal)]),
			...Object.entries(leftOut).map(([name, reason]) => [name, "left out", reason]),
		]);
		console.log();
	}
	const steps = (times) =>
		printColumns(Object.entries(times).map(([step, time]) => [step, amount(time), ""]));
	console.log("The floor, step by step, bound to one CPU (µs, mean)");
	steps(floorSteps);
	console.log("\nThe further steps of the add-on (µs, mean)");
	steps(extras);
}
