import type { Coverage } from "./coverage.ts";
import { mutate, USUAL_SIZE } from "./mutate.ts";
import type { Random } from "./random.ts";
import type { Target } from "./target.ts";
import { toBytes } from "./target.ts";

/** What the watching thread needs: the input that is being read, and since when. */
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
	/** The time limit of one input, in milliseconds. */
	timeout: number;
	/** When to stop: after this many mutations, or at this time (performance.now()). */
	runs: number;
	until: number;
}

export interface Report {
	inputs: number;
	seconds: number;
	/** How many blocks of this package's code were reached; 0 without coverage. */
	blocks: number;
	/** How many kinds of answers there were. */
	answers: number;
	slowest: number;
	problems: Problem[];
	/** The inputs to keep: small ones, each of which reaches something that no other reaches. */
	corpus: Uint8Array[];
}

/** How many inputs run between two queries of the coverage. */
const BATCH = 256;
/** How many inputs are tried to reduce one, and to reduce all. */
const SMALLER_TRIES = 60;
const ALL_TRIES = 1500;
/** The most kinds of answers for which an input is kept, because the kinds of some targets have no end. */
const MOST_ANSWERS = 60;
/** The most inputs of one kind. More of them show nothing new. */
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

/** The whole run of one target: its corpus, then mutations of it until the limits. */
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
	/** Counted by the reason for which an input was kept. */
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
		// The errors are only counted, so they need no stack, which would take most of the time.
		const { stackTraceLimit } = Error;
		Error.stackTraceLimit = 0;
		try {
			for (const bytes of [...this.#target.seeds.map(toBytes), ...corpus]) {
				this.#one(bytes);
				this.#pool.push(bytes);
				this.#old.add(bytes);
			}
			for (const block of this.#coverage?.take().blocks ?? []) this.#reached.add(block);
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

	/** Chooses newer inputs more often, because they found something last. */
	#next(): Uint8Array {
		const { length } = this.#pool;
		const from = this.#random.below(3) === 0 ? Math.max(0, length - 20) : 0;
		const bytes = this.#pool[from + this.#random.below(length - from)] as Uint8Array;
		return mutate(bytes, this.#random, this.#words, this.#random.pick(this.#pool));
	}

	#keep(bytes: Uint8Array): void {
		if (bytes.length <= USUAL_SIZE && this.#pool.at(-1) !== bytes) this.#pool.push(bytes);
	}

	/** Finds the input of this batch that reached something new. */
	#keepFresh(batch: readonly Uint8Array[], coverage: Coverage): void {
		for (const bytes of batch) this.#one(bytes);
		const fresh = [...coverage.take().blocks].filter((block) => !this.#reached.has(block));
		if (fresh.length === 0) return;
		const [only] = batch;
		if (batch.length === 1 && only !== undefined) {
			for (const block of fresh) this.#reached.add(block);
			this.#keep(only);
			return;
		}
		const half = batch.length >> 1;
		this.#keepFresh(batch.slice(0, half), coverage);
		this.#keepFresh(batch.slice(half), coverage);
	}

	/** Returns true if the answer's kind is new. */
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
		if (took > this.#limits.timeout) this.#again(bytes);
		else if (took > this.#slowest) this.#slowest = took;
		return answer;
	}

	/** The machine can cause this, so an input counts as slow only if it is slow three times. */
	#again(bytes: Uint8Array): void {
		let best = Number.POSITIVE_INFINITY;
		for (let i = 0; i < 2; i++) {
			const start = performance.now();
			try {
				this.#target.run(bytes);
			} catch {
				// The finding is reported already.
			}
			best = Math.min(best, performance.now() - start);
		}
		if (best > this.#limits.timeout) this.#problem("hang", bytes, `it takes ${Math.round(best)} ms`);
	}

	#problem(kind: Problem["kind"], bytes: Uint8Array, message: string): void {
		const key = `${kind} ${message.replace(/"(?:[^"\\]|\\.)*"?/g, "").replace(/\d+/g, "0")}`.slice(0, 200);
		const known = this.#found.get(key);
		if (known === undefined ? this.#found.size >= MOST_PROBLEMS : known.bytes.length <= bytes.length) return;
		this.#found.set(key, { kind, bytes: Uint8Array.from(bytes), message });
	}

	/** Chooses the few inputs that together reach the same as all, and makes each as small as it can be. */
	#smallest(coverage: Coverage): Uint8Array[] {
		const reach = (bytes: Uint8Array): Set<string> => {
			const answer = this.#timed(bytes);
			const reached = new Set<string>([...coverage.take().blocks].map(String));
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
			// An input of the corpus was reduced when it was found.
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
