import { parentPort, workerData } from "node:worker_threads";
import { targets } from "../targets/index.ts";
import { Coverage } from "./coverage.ts";
import { Loop, type Report, type Watch } from "./loop.ts";
import { Random } from "./random.ts";
import { COUNT, LENGTH, type Turn, type Work } from "./run.ts";

/* Runs targets in a separate thread, so that the fuzzer can terminate the thread, and knows the input, if an input never returns. */
const { turns, timeout, shared } = workerData as Work;
const head = new Int32Array(shared, 0, 2);
const room = new Uint8Array(shared, 8);
const watch: Watch = {
	begin(bytes) {
		const length = Math.min(bytes.length, room.length);
		room.set(bytes.subarray(0, length));
		Atomics.store(head, LENGTH, length);
		Atomics.add(head, COUNT, 1);
	},
	end() {
		Atomics.add(head, COUNT, 1);
	},
};

function take({ name, seed, runs, milliseconds, guided, corpus }: Turn): Report {
	const target = targets.find((each) => each.name === name);
	if (target === undefined) throw new Error(`there is no target ${name}`);
	const coverage = guided ? new Coverage() : undefined;
	const until = performance.now() + (milliseconds ?? Number.POSITIVE_INFINITY);
	const limits = { timeout, runs: runs ?? Number.POSITIVE_INFINITY, until };
	const report = new Loop(target, new Random(seed), coverage, watch, limits).run(corpus);
	coverage?.stop();
	return report;
}

for (const turn of turns) parentPort?.postMessage(take(turn));
