import type { Outcome } from "./addon.ts";

/** One call of the C part, on the calling thread or, with `later`, on another thread. */
export type Call = (later: boolean) => Outcome | Promise<Outcome>;

/** An operation with a synchronous and an asynchronous form: it yields its calls and receives their outcomes. */
export type Work<T> = Generator<Call, T, Outcome>;

export function runSync<T>(work: Work<T>): T {
	let turn = work.next();
	while (!turn.done) {
		let outcome: Outcome;
		try {
			outcome = turn.value(false) as Outcome;
		} catch (error) {
			turn = work.throw(error);
			continue;
		}
		turn = work.next(outcome);
	}
	return turn.value;
}

export async function runAsync<T>(work: Work<T>): Promise<T> {
	let turn = work.next();
	while (!turn.done) {
		let outcome: Outcome;
		try {
			outcome = await turn.value(true);
		} catch (error) {
			turn = work.throw(error);
			continue;
		}
		turn = work.next(outcome);
	}
	return turn.value;
}

/** Wraps an operation that has separate forms, such as reading a table. */
export function* either<T>(now: () => T, later: () => Promise<T>): Generator<Call, T, Outcome> {
	return (yield ((isLater: boolean) => (isLater ? later() : now())) as unknown as Call) as unknown as T;
}
