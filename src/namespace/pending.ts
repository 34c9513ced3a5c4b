import { ownCopy } from "../options.ts";
import { abortError } from "./abort.ts";

interface Waiter<T> {
	resolve(value: T): void;
	reject(error: unknown): void;
	/** It was aborted and waits no longer. Taking it out of the list would take longer the more there are. */
	over: boolean;
}

/** Something under way, and who waits for it. */
export class Pending<T> {
	readonly #waiters: Waiter<T>[] = [];
	#over = 0;
	/** False: what comes is handed out, but not kept. */
	keep = true;

	/** Whether anybody waits still. */
	get wanted(): boolean {
		return this.#waiters.length > this.#over;
	}

	/** The two are those of a promise; when the signal aborts, it is rejected at once and waits no longer. */
	add(resolve: (value: T) => void, reject: (error: unknown) => void, signal: AbortSignal | undefined): void {
		if (signal === undefined) {
			this.#waiters.push({ resolve, reject, over: false });
			return;
		}
		const onAbort = () => {
			waiter.over = true;
			this.#over++;
			reject(abortError(signal));
		};
		const waiter: Waiter<T> = {
			resolve: (value) => {
				signal.removeEventListener("abort", onAbort);
				resolve(value);
			},
			reject: (error) => {
				signal.removeEventListener("abort", onAbort);
				reject(error);
			},
			over: false,
		};
		signal.addEventListener("abort", onAbort, ownCopy({ once: true }));
		this.#waiters.push(waiter);
	}

	/** Each gets one of its own. */
	resolve(make: () => T): void {
		for (const waiter of this.#waiters) {
			if (waiter.over) continue;
			try {
				waiter.resolve(make());
			} catch (error) {
				waiter.reject(error);
			}
		}
	}

	reject(error: unknown): void {
		for (const waiter of this.#waiters) if (!waiter.over) waiter.reject(error);
	}
}
