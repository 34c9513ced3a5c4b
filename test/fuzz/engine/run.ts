import { Worker } from "node:worker_threads";
import { SLOWER } from "../../support/slower.ts";
import type { Report } from "./loop.ts";
import { MOST_SIZE } from "./mutate.ts";

/** Indexes into the array that the threads share. COUNT is odd while an input is being read. */
export const LENGTH = 0;
export const COUNT = 1;

/** The run of one target. */
export interface Turn {
	name: string;
	seed: number;
	/** The limits: the first one that is reached ends the run. */
	runs?: number;
	milliseconds?: number;
	/** Whether the run keeps inputs by the coverage of the code. */
	guided: boolean;
	corpus: readonly Uint8Array[];
}

export interface Work {
	turns: readonly Turn[];
	/** The time limit of one input, in milliseconds. */
	timeout: number;
	shared: SharedArrayBuffer;
}

/** The time limit of one input. A machine can stop for that long, so slow inputs are tried again. */
const TIMEOUT_MS = 1000 * SLOWER;
/** After this time an input counts as one that never ends. */
const HANG_MS = 15_000 * SLOWER;

/** Runs targets one after another in a thread. Terminates and restarts the thread when an input does not end. */
export async function runTurns(turns: readonly Turn[]): Promise<Report[]> {
	const reports: Report[] = [];
	while (reports.length < turns.length) reports.push(...(await runThread(turns.slice(reports.length))));
	return reports;
}

function runThread(turns: readonly Turn[]): Promise<Report[]> {
	const shared = new SharedArrayBuffer(8 + MOST_SIZE);
	const work: Work = { turns, timeout: TIMEOUT_MS, shared };
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
			} else if (performance.now() - since > HANG_MS) {
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

/** The result of a run whose thread was terminated: the input that it was reading. */
function hung(shared: SharedArrayBuffer): Report {
	const [length = 0] = new Int32Array(shared, 0, 1);
	const bytes = Uint8Array.from(new Uint8Array(shared, 8, length));
	const message = `it did not end within ${HANG_MS / 1000} seconds`;
	return {
		inputs: 0,
		seconds: HANG_MS / 1000,
		blocks: 0,
		answers: 0,
		slowest: HANG_MS,
		problems: [{ kind: "hang", bytes, message }],
		corpus: [],
	};
}
