// npm run bench: runs the subjects of every row in turns, each trial in its own process, and prints a table. A trial
// that fails makes it fail; a goal that is missed does not. --quick: a short form, to check that every trial works. --only
// ROW,…: these rows alone, by their id in rows.mjs. --out FILE: JSON. --save: the committed JSON in bench/results, and the
// tables of docs/performance.md.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "../scripts/build.mjs";
import { document } from "./document.mjs";
import { now, quantile } from "./measure.mjs";
import { buildPeers } from "./peers.mjs";
import { rowsFor } from "./rows.mjs";
import { setStage } from "./stage.mjs";
import { printTable } from "./table.mjs";

const INSIDE = "--in-mount-namespace";
const self = fileURLToPath(import.meta.url);

function output(command, ...args) {
	const { stdout } = spawnSync(command, args, { encoding: "utf8" });
	return stdout?.trim();
}

function machine(peers) {
	return {
		date: new Date().toISOString().slice(0, 10),
		kernel: release(),
		cpu: cpus()[0]?.model,
		processors: cpus().length,
		node: process.version,
		go: peers["runc-way"].program && output("go", "version")?.split(" ")[2],
		bindfs: peers.bindfs.program && output("bindfs", "--version"),
	};
}

/** Seconds for each row, so that the JSON shows where the time of a run goes. */
const secondsOf = {};

function runTrial({ argv }) {
	const { status, stdout, stderr, error } = spawnSync(argv[0], argv.slice(1), { encoding: "utf8" });
	if (status !== 0) throw new Error(`${argv.join(" ")}: ${error?.message ?? `status ${status}`}\n${stderr}`);
	return JSON.parse(stdout);
}

/** results[row][subject]: one result for each round. */
function runAll(rows, rounds) {
	const results = Object.fromEntries(rows.map(({ id }) => [id, {}]));
	const most = Math.max(rounds, ...rows.map((row) => row.rounds ?? 0));
	for (let round = 0; round < most; round++) {
		for (const { id, subjects, rounds: own = rounds } of rows) {
			const start = now();
			for (const [name, subject] of Object.entries(subjects)) {
				if (subject.reason || round >= (subject.rounds ?? own)) continue;
				results[id][name] ??= [];
				results[id][name].push(runTrial(subject));
			}
			secondsOf[id] = (secondsOf[id] ?? 0) + (now() - start) / 1e6;
		}
		process.stderr.write(`round ${round + 1} of ${most}\n`);
	}
	return results;
}

const median = (values) => quantile(values, 0.5);

function judge({ most, least }, value) {
	if (most === undefined && least === undefined) return {};
	return {
		most,
		least,
		met: (most === undefined || value <= most) && (least === undefined || value >= least),
	};
}

/** The median of the ratios, each within one round, where the machine was the same for both. */
function ratioOf(results, { of, to, value = "p50", aim, ...goal }) {
	const above = results[of];
	const below = results[to];
	if (above === undefined || below === undefined) return undefined;
	const ratios = above.map((each, round) => each[value] / below[Math.min(round, below.length - 1)][value]);
	const ratio = median(ratios);
	return {
		of,
		to,
		value,
		ratio,
		least: Math.min(...ratios),
		most: Math.max(...ratios),
		aim,
		goal: judge(goal, ratio),
	};
}

function conclude(row, results) {
	const { id, what, note, why, subjects } = row;
	const medians = {};
	const leftOut = {};
	for (const [name, { reason }] of Object.entries(subjects)) {
		if (reason) leftOut[name] = reason;
		else {
			const keys = Object.keys(results[name][0]);
			medians[name] = Object.fromEntries(
				keys.map((key) => [key, median(results[name].map((each) => each[key]))]),
			);
		}
	}
	const ratios = (row.ratios ?? [])
		.map((ratio) => ratioOf(results, ratio))
		.filter((ratio) => ratio !== undefined);
	const values = (row.values ?? []).map(({ of, value, unit, ...goal }) => {
		const found = medians[of][value];
		return { of, value, unit, found, goal: judge(goal, found) };
	});
	return { id, what, note, why, medians, ratios, values, leftOut };
}

async function main({ quick, only, out, save }) {
	const peers = buildPeers();
	const counts = quick
		? { files: 200, chownedFiles: 10, targetCount: 200 }
		: { files: 2000, chownedFiles: 100_000, targetCount: 10_000 };
	const load = [loadavg()[0]];
	const stage = Object.assign(await setStage({ ...counts, peers }), counts);
	let result;
	try {
		const { mountIdmapped } = await import("../dist/src/library/userns.js");
		const mount = await mountIdmapped({
			source: stage.source,
			target: stage.idmapped,
			mapping: "0:100000:65536",
		});
		mount.close();
		const rounds = quick ? 1 : 5;
		const chosen = only?.split(",");
		const rows = rowsFor({ quick, peers, stage }).filter(({ id }) => chosen?.includes(id) ?? true);
		const results = runAll(rows, rounds);
		const floorSteps = runTrial({ argv: [peers.creation.program, "steps", quick ? "100" : "2000", "0"] });
		const extras = runTrial({ argv: [peers.extras.program, "20000"] });
		load.push(loadavg()[0]);
		result = {
			machine: machine(peers),
			loadBeforeAndAfter: load,
			form: quick ? "quick" : "full",
			rounds,
			mostRounds: Math.max(rounds, ...rows.map((row) => row.rounds ?? 0)),
			secondsOf,
			unit: "µs",
			floorSteps,
			extras,
			rows: rows.map((row) => conclude(row, results[row.id])),
		};
	} finally {
		stage.end();
	}
	printTable(result);
	const json = `${JSON.stringify(result, shorten, "\t")}\n`;
	if (out !== undefined) writeFileSync(out, json);
	if (!save) return;
	writeFileSync(new URL("results/bench.json", import.meta.url), json);
	document(result);
}

/** Four digits are more than the measurement is worth. */
function shorten(_key, value) {
	if (typeof value !== "number" || Number.isInteger(value)) return value;
	return Number(value.toPrecision(4));
}

const { values } = parseArgs({
	options: {
		quick: { type: "boolean", default: false },
		only: { type: "string" },
		out: { type: "string" },
		save: { type: "boolean", default: false },
		[INSIDE.slice(2)]: { type: "boolean", default: false },
	},
});
if (process.platform !== "linux" || process.geteuid() !== 0) {
	console.error("The benchmark needs Linux and root, because it makes mounts.");
	process.exit(1);
}
if (values[INSIDE.slice(2)]) await main(values);
else {
	await build();
	const words = [process.execPath, self, INSIDE, ...process.argv.slice(2)];
	const { status } = spawnSync("unshare", ["--mount", "--propagation", "private", ...words], {
		stdio: "inherit",
	});
	process.exit(status ?? 1);
}
