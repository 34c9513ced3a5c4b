import type { Outcome } from "./addon.ts";

/** One call of the add-on: on the calling thread or, if `later` is true, on another thread, with a promise. */
export type NativeCall = (later: boolean) => Outcome | Promise<Outcome>;

/**
 * An operation with a synchronous and an asynchronous form. The generator yields each call and receives its outcome.
 * runSync() and runAsync() run it, so that each step is written once.
 */
export type Operation<T> = Generator<NativeCall, T, Outcome>;

/** Runs an operation on the calling thread. */
export function runSync<T>(operation: Operation<T>): T {
	let turn = operation.next();
	while (!turn.done) {
		let outcome: Outcome;
		try {
			outcome = turn.value(false) as Outcome;
		} catch (error) {
			turn = operation.throw(error);
			continue;
		}
		turn = operation.next(outcome);
	}
	return turn.value;
}

/** Runs an operation whose calls are made on other threads. */
export async function runAsync<T>(operation: Operation<T>): Promise<T> {
	let turn = operation.next();
	while (!turn.done) {
		let outcome: Outcome;
		try {
			outcome = await turn.value(true);
		} catch (error) {
			turn = operation.throw(error);
			continue;
		}
		turn = operation.next(outcome);
	}
	return turn.value;
}

/** A step of an operation with a function for each form, such as a read of a table. Returns the function's result. */
export function* syncOrAsync<T>(now: () => T, later: () => Promise<T>): Generator<NativeCall, T, Outcome> {
	const call = (isLater: boolean) => (isLater ? later() : now());
	return (yield call as unknown as NativeCall) as unknown as T;
}
