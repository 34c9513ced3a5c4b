import assert from "node:assert/strict";
import { SEED } from "../support/arbitrary.ts";
import { test } from "../support/test.ts";
import { readCorpus, shown } from "./engine/corpus.ts";
import { runTurns } from "./engine/run.ts";
import { toBytes } from "./engine/target.ts";
import { targets } from "./targets/index.ts";

// The short form: the kept inputs, every past crash among them, and some hundred mutations of them with a new seed.
// `npm run test:fuzz` is the long form, which the coverage guides.
const LONG = process.env.USERNS_LONG === "1";
const RUNS = LONG ? 50_000 : 500;

test("every parser accepts or refuses every input within its time limit", { timeout: 600_000 }, async () => {
	const turns = targets.map(({ name }) => {
		const corpus = readCorpus(name).map(({ bytes }) => bytes);
		return { name, seed: SEED, runs: RUNS, guided: false, corpus };
	});
	const reports = await runTurns(turns);
	const findings = reports.flatMap(({ problems }, i) =>
		problems.map(({ kind, message, bytes }) => `${turns[i]?.name}: ${kind}: ${message}: ${shown(bytes)}`),
	);
	assert.deepEqual(findings, [], `USERNS_SEED=${SEED} gives this run again`);
	for (const { inputs } of reports) assert.ok(inputs >= RUNS, `only ${inputs} inputs`);
});

function milliseconds(run: (bytes: Uint8Array) => unknown, bytes: Uint8Array): number {
	const start = performance.now();
	run(bytes);
	return performance.now() - start;
}

const SMALL = LONG ? 3000 : 300;
/** A tenfold input may take 25 times as long, and a quadratic parser takes a hundred times. Less than 4 ms is noise. */
const MOST = 25;
const NOISE_MS = 4;

test("no parser takes quadratic time for a text that repeats a range", (t) => {
	if (!LONG) return t.skip("it measures time: USERNS_LONG=1 runs it");
	for (const { name, run, growing = {} } of targets) {
		for (const [what, make] of Object.entries(growing)) {
			const [small, large] = [toBytes(make(SMALL)), toBytes(make(10 * SMALL))];
			let best = Number.POSITIVE_INFINITY;
			const times = { small: best, large: best };
			// The machine may have been busy: one good try is enough.
			for (let i = 0; i < 8 && best > MOST; i++) {
				times.small = Math.min(times.small, milliseconds(run, small));
				times.large = Math.min(times.large, milliseconds(run, large));
				best = times.large / Math.max(times.small, NOISE_MS);
			}
			assert.ok(best <= MOST, `${name}, ${what}: ${JSON.stringify(times)} milliseconds`);
		}
	}
});
