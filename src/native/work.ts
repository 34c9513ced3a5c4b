import type { Outcome } from "./load.ts";

/** One call of the C part, on the calling thread or, `later`, on another. */
export type Call = (later: boolean) => Outcome | Promise<Outcome>;

/** An operation that is the same for its synchronous and its asynchronous form: it yields its calls and gets their outcomes. */
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

/** For what has two forms of its own, such as the reading of a table. */
export function* either<T>(now: () => T, later: () => Promise<T>): Generator<Call, T, Outcome> {
	return (yield ((isLater: boolean) => (isLater ? later() : now())) as unknown as Call) as unknown as T;
}
