import { type Profiler, Session } from "node:inspector";

/** A block of the code, numbered in the order in which the blocks were first reached. */
type Block = number;

/**
 * Which blocks of this package's code were executed, from V8 (Profiler.takePreciseCoverage): no instrumentation and no
 * dependency. A query takes a millisecond or two, so one query covers many inputs.
 */
export class Coverage {
	readonly #session = new Session();
	readonly #blocks = new Map<string, Block>();

	constructor() {
		this.#session.connect();
		this.#session.post("Profiler.enable");
		this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
	}

	get size(): number {
		return this.#blocks.size;
	}

	/** Which blocks were executed since the last query, and whether one of them is new. */
	take(): { blocks: Set<Block>; fresh: boolean } {
		let result: Profiler.ScriptCoverage[] = [];
		// In a session of the thread itself, the answer comes before post() returns.
		this.#session.post("Profiler.takePreciseCoverage", (error, answer) => {
			if (error) throw error;
			result = answer.result;
		});
		const before = this.#blocks.size;
		const blocks = new Set<Block>();
		for (const { url, functions } of result) {
			if (!url.includes("/dist/src/")) continue;
			for (const { ranges } of functions) {
				for (const { startOffset, endOffset, count } of ranges) {
					if (count > 0) blocks.add(this.#block(`${url}:${startOffset}-${endOffset}`));
				}
			}
		}
		return { blocks, fresh: this.#blocks.size > before };
	}

	#block(key: string): Block {
		const known = this.#blocks.get(key);
		if (known !== undefined) return known;
		this.#blocks.set(key, this.#blocks.size);
		return this.#blocks.size - 1;
	}

	stop(): void {
		this.#session.disconnect();
	}
}
