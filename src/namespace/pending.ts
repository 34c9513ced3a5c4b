import { abortError } from "./abort.ts";

interface Waiter<T> {
	resolve(value: T): void;
	reject(error: unknown): void;
}

/** Something under way, and who waits for it. */
export class Pending<T> {
	readonly #waiters: Waiter<T>[] = [];
	/** False: what comes is handed out, but not kept. */
	keep = true;

	/** Whether anybody waits still. */
	get wanted(): boolean {
		return this.#waiters.length > 0;
	}

	/** The two are those of a promise; when the signal aborts, it is rejected at once and waits no longer. */
	add(resolve: (value: T) => void, reject: (error: unknown) => void, signal: AbortSignal | undefined): void {
		if (signal === undefined) {
			this.#waiters.push({ resolve, reject });
			return;
		}
		const onAbort = () => {
			this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
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
		};
		signal.addEventListener("abort", onAbort, { once: true });
		this.#waiters.push(waiter);
	}

	/** Each gets one of its own. */
	resolve(make: () => T): void {
		for (const waiter of this.#waiters) {
			try {
				waiter.resolve(make());
			} catch (error) {
				waiter.reject(error);
			}
		}
	}

	reject(error: unknown): void {
		for (const waiter of this.#waiters) waiter.reject(error);
	}
}
