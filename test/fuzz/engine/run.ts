import { Worker } from "node:worker_threads";
import { SLOWER } from "../../support/slower.ts";
import type { Report } from "./loop.ts";
import { MOST_SIZE } from "./mutate.ts";

/** Places in the head of what the threads share. COUNT is odd while an input is being read. */
export const LENGTH = 0;
export const COUNT = 1;

/** One target's turn. */
export interface Turn {
	name: string;
	seed: number;
	/** One of these two ends it. */
	runs?: number;
	milliseconds?: number;
	/** Whether inputs are kept for what they reach in the code. */
	guided: boolean;
	corpus: readonly Uint8Array[];
}

export interface Work {
	turns: readonly Turn[];
	/** Milliseconds for one input. */
	patience: number;
	shared: SharedArrayBuffer;
}

/** What a second of one input is worth here; a machine can stop for that long, so that slow ones are tried again. */
const PATIENCE_MS = 1000 * SLOWER;
/** From then on it is taken for one that never ends. */
const HOPELESS_MS = 15_000 * SLOWER;

/** Runs targets one behind the other in a thread, which is ended and begun anew when an input takes for ever. */
export async function runTurns(turns: readonly Turn[]): Promise<Report[]> {
	const reports: Report[] = [];
	while (reports.length < turns.length) reports.push(...(await runThread(turns.slice(reports.length))));
	return reports;
}

function runThread(turns: readonly Turn[]): Promise<Report[]> {
	const shared = new SharedArrayBuffer(8 + MOST_SIZE);
	const work: Work = { turns, patience: PATIENCE_MS, shared };
	const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: work });
	const count = () => Atomics.load(new Int32Array(shared), COUNT);
	const reports: Report[] = [];
	return new Promise((resolve, reject) => {
		let seen = -1;
		let since = performance.now();
		const timer = setInterval(() => {
			const now = count();
			if (now !== seen || now % 2 === 0) {
				seen = now;
				since = performance.now();
			} else if (performance.now() - since > HOPELESS_MS) {
				reports.push(hung(shared));
				void end().then(() => resolve(reports));
			}
		}, 250);
		const end = () => {
			clearInterval(timer);
			return worker.terminate();
		};
		worker.on("message", (report: Report) => {
			reports.push(report);
			if (reports.length === turns.length) void end().then(() => resolve(reports));
		});
		worker.on("error", (error) => void end().then(() => reject(error)));
	});
}

/** All that is known of a turn whose thread was ended: what it was busy with. */
function hung(shared: SharedArrayBuffer): Report {
	const [length = 0] = new Int32Array(shared, 0, 1);
	const bytes = Uint8Array.from(new Uint8Array(shared, 8, length));
	const message = `it did not end within ${HOPELESS_MS / 1000} seconds`;
	return {
		inputs: 0,
		seconds: HOPELESS_MS / 1000,
		blocks: 0,
		answers: 0,
		slowest: HOPELESS_MS,
		problems: [{ kind: "hang", bytes, message }],
		corpus: [],
	};
}
