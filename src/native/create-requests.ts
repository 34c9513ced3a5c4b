import { AsyncResource } from "node:async_hooks";
import { type Answer, type Create, type Creation, native, ownProgram } from "./addon.ts";

type Settled = (answer: Answer) => void;

/** Who waits, by token; a place that is free has undefined, and is in `free`. */
const waiting: (Settled | undefined)[] = [];
const free: number[] = [];
let create: Create | undefined;
/**
 * The first creation makes what the event loop hears of all later ones by (native/addon/worker-pool.c), and Node keeps the async context
 * in which it was made: whatever an AsyncLocalStorage had for that one caller would be held until the end.
 */
let outside: AsyncResource | undefined = new AsyncResource("userns");

function settle(token: number, answer: Answer): void {
	const settled = waiting[token];
	waiting[token] = undefined;
	free.push(token);
	settled?.(answer);
}

function creator(): Create {
	create ??= native().creator(ownProgram("userns-join"), settle);
	return create;
}

/** Creates on the calling thread. */
export function createNow({ uidMap, gidMap, allow, direct, helpers }: Creation): Answer {
	return creator()(uidMap, gidMap, allow, direct, helpers, -1) as Answer;
}

/** Creates on another thread; `settled` is called later, once, and must not throw. */
export function createLater({ uidMap, gidMap, allow, direct, helpers }: Creation, settled: Settled): void {
	const token = free.pop() ?? waiting.length;
	waiting[token] = settled;
	try {
		const begin = () => creator()(uidMap, gidMap, allow, direct, helpers, token);
		if (outside === undefined) begin();
		else outside.runInAsyncScope(begin);
		outside = undefined;
	} catch (error) {
		waiting[token] = undefined;
		free.push(token);
		throw error;
	}
}
