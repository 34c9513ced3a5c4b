import type { Coverage } from "./coverage.ts";
import { mutate, USUAL_SIZE } from "./mutate.ts";
import type { Random } from "./random.ts";
import type { Target } from "./target.ts";
import { toBytes } from "./target.ts";

/** What a watching thread is told: which input is being read, and since when. */
export interface Watch {
	begin(bytes: Uint8Array): void;
	end(): void;
}

export interface Problem {
	kind: "crash" | "hang";
	bytes: Uint8Array;
	message: string;
}

export interface Limits {
	/** Milliseconds that one input may take. */
	patience: number;
	/** When to end: after so many mutations, or at that time (performance.now()). */
	runs: number;
	until: number;
}

export interface Report {
	inputs: number;
	seconds: number;
	/** Blocks of our own code that were reached; 0 where nobody counted. */
	blocks: number;
	/** How many kinds of answers there were. */
	answers: number;
	slowest: number;
	problems: Problem[];
	/** What is worth keeping: small, and each reaches something that no other does. */
	corpus: Uint8Array[];
}

/** So many inputs between two looks at the coverage. */
const BATCH = 256;
/** Inputs that are tried to make one smaller, and all together. */
const SMALLER_TRIES = 60;
const ALL_TRIES = 1500;
/** Kinds of answers for which an input is kept: there are targets in which they have no end. */
const MOST_ANSWERS = 60;
/** Of one kind; more say nothing new. */
const MOST_PROBLEMS = 20;

const PROTOTYPES = [
	Object,
	Array,
	String,
	Number,
	Function,
	Map,
	Set,
	RegExp,
	Error,
	Promise,
	Uint8Array,
].map((each) => each.prototype as object);

function prototypeKeys(): string {
	return PROTOTYPES.map((each) => Reflect.ownKeys(each).map(String).join()).join(";");
}

/** Everything about one target: its corpus, then mutations of it until the limits. */
export class Loop {
	readonly #target: Target;
	readonly #random: Random;
	readonly #coverage: Coverage | undefined;
	readonly #watch: Watch;
	readonly #limits: Limits;
	readonly #words: Uint8Array[];
	readonly #pool: Uint8Array[] = [];
	readonly #old = new Set<Uint8Array>();
	readonly #answers = new Set<string>();
	/** By what was kept. */
	readonly #reached = new Set<number>();
	readonly #prototypes: string = prototypeKeys();
	readonly #found = new Map<string, Problem>();
	#inputs = 0;
	#tries = 0;
	#slowest = 0;

	constructor(target: Target, random: Random, coverage: Coverage | undefined, watch: Watch, limits: Limits) {
		this.#target = target;
		this.#random = random;
		this.#coverage = coverage;
		this.#watch = watch;
		this.#limits = limits;
		this.#words = [...target.words, "\0", "\n", " "].map(toBytes);
	}

	run(corpus: readonly Uint8Array[]): Report {
		const start = performance.now();
		// A stack is of no use in errors that are only counted, and making it takes most of the time.
		const { stackTraceLimit } = Error;
		Error.stackTraceLimit = 0;
		try {
			for (const bytes of [...this.#target.seeds.map(toBytes), ...corpus]) {
				this.#one(bytes);
				this.#pool.push(bytes);
				this.#old.add(bytes);
			}
			for (const place of this.#coverage?.take().places ?? []) this.#reached.add(place);
			this.#mutate();
		} finally {
			Error.stackTraceLimit = stackTraceLimit;
		}
		return {
			inputs: this.#inputs,
			seconds: (performance.now() - start) / 1000,
			blocks: this.#coverage?.size ?? 0,
			answers: this.#answers.size,
			slowest: this.#slowest,
			problems: [...this.#found.values()],
			corpus: this.#coverage === undefined ? [] : this.#smallest(this.#coverage),
		};
	}

	#mutate(): void {
		const { runs, until } = this.#limits;
		for (let done = 0; done < runs && performance.now() < until; done += BATCH) {
			const batch: Uint8Array[] = [];
			for (let i = 0; i < Math.min(BATCH, runs - done); i++) {
				const bytes = this.#next();
				if (this.#one(bytes)) this.#keep(bytes);
				batch.push(bytes);
			}
			if (this.#coverage?.take().fresh) this.#keepFresh(batch, this.#coverage);
			if (prototypeKeys() !== this.#prototypes)
				throw new Error(`${this.#target.name}: a prototype was changed`);
		}
	}

	/** Newer ones more often: they are where something was found last. */
	#next(): Uint8Array {
		const { length } = this.#pool;
		const from = this.#random.below(3) === 0 ? Math.max(0, length - 20) : 0;
		const bytes = this.#pool[from + this.#random.below(length - from)] as Uint8Array;
		return mutate(bytes, this.#random, this.#words, this.#random.pick(this.#pool));
	}

	#keep(bytes: Uint8Array): void {
		if (bytes.length <= USUAL_SIZE && this.#pool.at(-1) !== bytes) this.#pool.push(bytes);
	}

	/** One of these reached something new, but which? */
	#keepFresh(batch: readonly Uint8Array[], coverage: Coverage): void {
		for (const bytes of batch) this.#one(bytes);
		const fresh = [...coverage.take().places].filter((place) => !this.#reached.has(place));
		if (fresh.length === 0) return;
		const [only] = batch;
		if (batch.length === 1 && only !== undefined) {
			for (const place of fresh) this.#reached.add(place);
			this.#keep(only);
			return;
		}
		const half = batch.length >> 1;
		this.#keepFresh(batch.slice(0, half), coverage);
		this.#keepFresh(batch.slice(half), coverage);
	}

	/** True when the answer is of a kind that there was not before. */
	#one(bytes: Uint8Array): boolean {
		this.#inputs++;
		const answer = this.#timed(bytes);
		if (answer === undefined || this.#answers.has(answer) || this.#answers.size >= MOST_ANSWERS) return false;
		this.#answers.add(answer);
		return true;
	}

	#timed(bytes: Uint8Array): string | undefined {
		let answer: string | undefined;
		const start = performance.now();
		this.#watch.begin(bytes);
		try {
			answer = this.#target.run(bytes);
		} catch (error) {
			this.#problem(
				"crash",
				bytes,
				error instanceof Error ? `${error.name}: ${error.message}` : String(error),
			);
		}
		this.#watch.end();
		const took = performance.now() - start;
		if (took > this.#limits.patience) this.#again(bytes);
		else if (took > this.#slowest) this.#slowest = took;
		return answer;
	}

	/** It can have been the machine: only what is slow three times is. */
	#again(bytes: Uint8Array): void {
		let best = Number.POSITIVE_INFINITY;
		for (let i = 0; i < 2; i++) {
			const start = performance.now();
			try {
				this.#target.run(bytes);
			} catch {
				// told already
			}
			best = Math.min(best, performance.now() - start);
		}
		if (best > this.#limits.patience) this.#problem("hang", bytes, `it takes ${Math.round(best)} ms`);
	}

	#problem(kind: Problem["kind"], bytes: Uint8Array, message: string): void {
		const key = `${kind} ${message.replace(/"(?:[^"\\]|\\.)*"?/g, "").replace(/\d+/g, "0")}`.slice(0, 200);
		const known = this.#found.get(key);
		if (known === undefined ? this.#found.size >= MOST_PROBLEMS : known.bytes.length <= bytes.length) return;
		this.#found.set(key, { kind, bytes: Uint8Array.from(bytes), message });
	}

	/** Of all that were kept the few that reach all that all reach, each as small as it can be with that. */
	#smallest(coverage: Coverage): Uint8Array[] {
		const reach = (bytes: Uint8Array): Set<string> => {
			const answer = this.#timed(bytes);
			const reached = new Set<string>([...coverage.take().places].map(String));
			return answer !== undefined && this.#answers.has(answer) ? reached.add(`answer ${answer}`) : reached;
		};
		coverage.take();
		const left = this.#pool.map((bytes) => ({ bytes, reached: reach(bytes) }));
		left.sort((a, b) => a.bytes.length - b.bytes.length);
		const needed = new Set(left.flatMap(({ reached }) => [...reached]));
		const kept: Uint8Array[] = [];
		while (needed.size > 0) {
			let best = left[0] as (typeof left)[number];
			let most = -1;
			for (const each of left) {
				let count = 0;
				for (const key of each.reached) if (needed.has(key)) count++;
				if (count > most) [best, most] = [each, count];
			}
			const needs = new Set([...best.reached].filter((key) => needed.has(key)));
			for (const key of needs) needed.delete(key);
			// What lay in the corpus was made smaller when it was found.
			kept.push(this.#old.has(best.bytes) ? best.bytes : this.#smaller(best.bytes, needs, reach));
		}
		return kept;
	}

	#smaller(bytes: Uint8Array, needs: Set<string>, reach: (bytes: Uint8Array) => Set<string>): Uint8Array {
		let best = bytes;
		const most = Math.min(this.#tries + SMALLER_TRIES, ALL_TRIES);
		for (let size = best.length >> 1; size > 0 && this.#tries < most; size >>= 1) {
			for (let at = 0; at < best.length && this.#tries < most; ) {
				const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
				const reached = reach(shorter);
				this.#tries++;
				if ([...needs].every((key) => reached.has(key))) best = shorter;
				else at += size;
			}
		}
		return best;
	}
}
