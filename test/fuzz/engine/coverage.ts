import { type Profiler, Session } from "node:inspector";

/** A place in the code, numbered by when it was first reached. */
type Place = number;

/**
 * Which blocks of our own code were executed, from V8 itself (Profiler.takePreciseCoverage): no instrumentation, no
 * dependency. Asking takes a millisecond or two, so it is asked for many inputs at once.
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

	/** What was executed since the last time, and whether any of it never was before. */
	take(): { places: Set<Place>; fresh: boolean } {
		let result: Profiler.ScriptCoverage[] = [];
		// On the thread's own session the answer comes before post() returns.
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
