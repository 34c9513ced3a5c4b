import { ownCopy } from "../options.ts";

/** The rejection of an aborted call, as Node's own: name "AbortError", code "ABORT_ERR", the reason as cause. */
export function abortError(signal: AbortSignal): Error {
	const error = new Error("The operation was aborted", { cause: signal.reason });
	error.name = "AbortError";
	return Object.assign(error, { code: "ABORT_ERR" });
}

interface Waiter<T> {
	resolve(value: T): void;
	reject(error: unknown): void;
	/** True after an abort. Removing the waiter from the list would take longer the more waiters there are. */
	aborted: boolean;
}

/** A result that several callers wait for. */
export class Pending<T> {
	readonly #waiters: Waiter<T>[] = [];
	#aborted = 0;
	/** False: the result is returned to the waiters but not cached. */
	cache = true;

	/** Whether at least one waiter was not aborted. */
	get wanted(): boolean {
		return this.#waiters.length > this.#aborted;
	}

	/** Adds the functions of a promise. When the signal aborts, the promise is rejected at once. */
	add(resolve: (value: T) => void, reject: (error: unknown) => void, signal: AbortSignal | undefined): void {
		if (signal === undefined) {
			this.#waiters.push({ resolve, reject, aborted: false });
			return;
		}
		const onAbort = () => {
			waiter.aborted = true;
			this.#aborted++;
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
			aborted: false,
		};
		signal.addEventListener("abort", onAbort, ownCopy({ once: true }));
		this.#waiters.push(waiter);
	}

	/** Resolves each waiter with a separate value. */
	resolve(make: () => T): void {
		for (const waiter of this.#waiters) {
			if (waiter.aborted) continue;
			try {
				waiter.resolve(make());
			} catch (error) {
				waiter.reject(error);
			}
		}
	}

	reject(error: unknown): void {
		for (const waiter of this.#waiters) if (!waiter.aborted) waiter.reject(error);
	}
}
