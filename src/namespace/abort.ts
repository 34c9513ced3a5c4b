import { ownCopy } from "../options.ts";

/** What an aborted call rejects with, shaped as Node's own: name "AbortError", code "ABORT_ERR", the reason as cause. */
export function abortError(signal: AbortSignal): Error {
	const error = new Error("The operation was aborted", { cause: signal.reason });
	error.name = "AbortError";
	return Object.assign(error, { code: "ABORT_ERR" });
}

/**
 * Settles with the promise, or rejects as soon as the signal aborts; `discard` then gets what comes too late.
 */
export function abortable<T>(
	promise: Promise<T>,
	signal: AbortSignal | undefined,
	discard: (late: T) => void,
): Promise<T> {
	if (signal === undefined) return promise;
	return new Promise((resolve, reject) => {
		let over = false;
		const onAbort = () => {
			over = true;
			reject(abortError(signal));
		};
		signal.addEventListener("abort", onAbort, ownCopy({ once: true }));
		promise.then(
			(value) => {
				signal.removeEventListener("abort", onAbort);
				if (over) discard(value);
				else resolve(value);
			},
			(error: unknown) => {
				signal.removeEventListener("abort", onAbort);
				reject(error as Error);
			},
		);
	});
}
