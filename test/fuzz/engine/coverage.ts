import { type Profiler, Session } from "node:inspector";

/** A block of the code, numbered in the order in which the blocks were first reached. */
type Place = number;

/**
 * Which blocks of this package's code were executed, from V8 (Profiler.takePreciseCoverage): no instrumentation and no
 * dependency. A query takes a millisecond or two, so one query covers many inputs.
 */
export class Coverage {
	readonly #session = new Session();
	readonly #places = new Map<string, Place>();

	constructor() {
		this.#session.connect();
		this.#session.post("Profiler.enable");
		this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
	}

	get size(): number {
		return this.#places.size;
	}

	/** Which blocks were executed since the last query, and whether one of them is new. */
	take(): { places: Set<Place>; fresh: boolean } {
		let result: Profiler.ScriptCoverage[] = [];
		// In a session of the thread itself, the answer comes before post() returns.
		this.#session.post("Profiler.takePreciseCoverage", (error, answer) => {
			if (error) throw error;
			result = answer.result;
		});
		const before = this.#places.size;
		const places = new Set<Place>();
		for (const { url, functions } of result) {
			if (!url.includes("/dist/src/")) continue;
			for (const { ranges } of functions) {
				for (const { startOffset, endOffset, count } of ranges) {
					if (count > 0) places.add(this.#place(`${url}:${startOffset}-${endOffset}`));
				}
			}
		}
		return { places, fresh: this.#places.size > before };
	}

	#place(key: string): Place {
		const known = this.#places.get(key);
		if (known !== undefined) return known;
		this.#places.set(key, this.#places.size);
		return this.#places.size - 1;
	}

	stop(): void {
		this.#session.disconnect();
	}
}
