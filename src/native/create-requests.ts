import { AsyncResource } from "node:async_hooks";
import { type Answer, type Create, type Creation, native, ownProgram } from "./addon.ts";

type OnResult = (answer: Answer) => void;

/** The callbacks of the requests in progress, by token. A free entry is undefined, and its token is in `free`. */
const callbacks: (OnResult | undefined)[] = [];
const free: number[] = [];
let create: Create | undefined;
/**
 * The first request makes the thread-safe function of all later ones (native/addon/worker-pool.c), and Node ties that function
 * to the current async context. Without this scope the AsyncLocalStorage values of the first caller would never be collected.
 */
let outside: AsyncResource | undefined = new AsyncResource("userns");

function onResult(token: number, answer: Answer): void {
	const callback = callbacks[token];
	callbacks[token] = undefined;
	free.push(token);
	callback?.(answer);
}

function createMethod(): Create {
	create ??= native().creator(ownProgram("userns-join"), onResult);
	return create;
}

/** Creates a user namespace on the calling thread. */
export function createNow({ uidMap, gidMap, allow, direct, helpers }: Creation): Answer {
	return createMethod()(uidMap, gidMap, allow, direct, helpers, -1) as Answer;
}

/** Creates a user namespace on another thread. Calls `callback` once, later; the callback must not throw. */
export function createLater({ uidMap, gidMap, allow, direct, helpers }: Creation, callback: OnResult): void {
	const token = free.pop() ?? callbacks.length;
	callbacks[token] = callback;
	try {
		const begin = () => createMethod()(uidMap, gidMap, allow, direct, helpers, token);
		if (outside === undefined) begin();
		else outside.runInAsyncScope(begin);
		outside = undefined;
	} catch (error) {
		callbacks[token] = undefined;
		free.push(token);
		throw error;
	}
}
