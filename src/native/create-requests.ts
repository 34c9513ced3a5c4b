import { type Create, type CreateArguments, type CreateResult, native } from "./addon.ts";

type OnResult = (answer: CreateResult) => void;

/** The callbacks of the requests in progress, by token. A free entry is undefined, and its token is in `free`. */
const callbacks: (OnResult | undefined)[] = [];
const free: number[] = [];
let create: Create | undefined;
function onResult(token: number, answer: CreateResult): void {
	const callback = callbacks[token];
	callbacks[token] = undefined;
	free.push(token);
	callback?.(answer);
}

function createMethod(): Create {
	create ??= native().createMethod(onResult);
	return create;
}

/** Creates a user namespace on the calling thread. */
export function createNow({ uidMap, gidMap, allow, direct, helpers }: CreateArguments): CreateResult {
	return createMethod()(uidMap, gidMap, allow, direct, helpers, -1) as CreateResult;
}

/** Creates a user namespace on another thread. Calls `callback` once, later; the callback must not throw. */
export function createLater(
	{ uidMap, gidMap, allow, direct, helpers }: CreateArguments,
	callback: OnResult,
): void {
	const token = free.pop() ?? callbacks.length;
	callbacks[token] = callback;
	try {
		createMethod()(uidMap, gidMap, allow, direct, helpers, token);
	} catch (error) {
		callbacks[token] = undefined;
		free.push(token);
		throw error;
	}
}
