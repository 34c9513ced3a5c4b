import { setTimeout as sleep } from "node:timers/promises";
import { UsernsError } from "../errors.ts";
import type { Extents } from "../mapping/extent.ts";
import { checkLimits, procText } from "../mapping/proc.ts";
import type { Answer, Creation } from "../native/addon.ts";
import { createLater, createNow } from "../native/create-requests.ts";
import { Descriptor } from "../native/descriptor.ts";
import { freeMapping } from "../subid/free.ts";
import { cutAtOwn } from "./caller-map.ts";
import { isOneOwn, type Wanted } from "./create-options.ts";
import { creationError, differs, isCountLimit, isMapRefused } from "./creation-errors.ts";
import { findHelpers, type Helpers, helperText, NO_HELPERS } from "./newidmap.ts";

const NO_WORDS: readonly string[] = [];

function prepare({ mapping, setgroups }: Wanted, direct: boolean, helpers: Helpers): Creation {
	const { uidMappings, gidMappings } = mapping;
	const uid = cutAtOwn("uid", uidMappings);
	const gid = cutAtOwn("gid", gidMappings);
	if (uid.length === 0 && gid.length === 0) {
		throw new UsernsError("ERR_USERNS_INVALID_MAPPING", "an empty mapping makes no user namespace", {
			hint: `Give at least one extent, such as ${freeMapping()}.`,
		});
	}
	// Cutting makes more lines, which may be more than the kernel takes.
	if (uid !== uidMappings) checkLimits("uid", uid);
	if (gid !== gidMappings) checkLimits("gid", gid);
	return {
		uidMap: procText(uid),
		gidMap: gid === uid ? null : procText(gid),
		allow: setgroups === "allow",
		direct,
		helpers: helpers === NO_HELPERS ? NO_WORDS : words(helpers, uid, gid),
	};
}

function words(helpers: Helpers, uid: Extents, gid: Extents): readonly string[] {
	return [
		helpers.uid ?? "",
		helpers.gid ?? "",
		helpers.uid === null ? "" : helperText("uid", uid),
		helpers.gid === null ? "" : helperText("gid", gid),
	];
}

/**
 * Milliseconds to wait between tries after ENOSPC, 205 in all: the kernel gives a namespace's count back only when an
 * RCU grace period and a work queue are through, measured a median 59 ms after the process was reaped.
 */
const PAUSES = [5, 10, 20, 40, 60, 70];

/** What a creation asks of the one who runs it: a call of the C part, or a pause in milliseconds. */
type Step = { call: Creation } | { pause: number };
type Steps<T> = Generator<Step, T, Answer | undefined>;

/** `answer`: what the call answered already. */
function* persist(call: Creation, answer: Answer): Steps<Answer> {
	for (const pause of PAUSES) {
		if (typeof answer === "number" || !isCountLimit(answer)) break;
		yield { pause };
		answer = (yield { call }) as Answer;
	}
	return answer;
}

/** Asking takes as long as four system calls, and where it is no longer true the kernel refuses: that is asked anew. */
let wasRoot = false;

function isRoot(): boolean {
	wasRoot ||= process.geteuid?.() === 0;
	return wasRoot;
}

/** The first call, and the helpers that it may use. */
interface First {
	call: Creation;
	helpers: Helpers;
}

/**
 * The kernel itself is asked whether the caller may write the maps. Root nearly always may, so the helpers are looked for
 * only when it said no; others nearly never may, so with a second map they are looked for first.
 */
function first(wanted: Wanted): First {
	const { mapping, method } = wanted;
	const early = method === "newuidmap" || (method === "auto" && !isRoot() && !isOneOwn(mapping));
	const helpers = early ? findHelpers(mapping) : NO_HELPERS;
	return { call: prepare(wanted, method !== "newuidmap", helpers), helpers };
}

/** What else there is to try when the first call did not simply succeed; without a need for it this is not begun. */
function* again(wanted: Wanted, { call, helpers }: First, begun: Answer, what: string): Steps<Descriptor> {
	const { mapping, method } = wanted;
	const answer = yield* persist(call, begun);
	if (typeof answer === "number" || method !== "auto" || helpers !== NO_HELPERS) {
		return finish(wanted, helpers, answer, what);
	}
	if (!isMapRefused(answer) || isOneOwn(mapping)) return finish(wanted, helpers, answer, what);
	wasRoot = false;
	const found = findHelpers(mapping);
	const withHelpers = prepare(wanted, true, found);
	const last = yield* persist(withHelpers, (yield { call: withHelpers }) as Answer);
	return finish(wanted, found, last, what);
}

/** Who waits for a descriptor: one of the two is called, once, and must not throw. */
export interface Waiting {
	resolve(descriptor: Descriptor): void;
	reject(error: unknown): void;
}

/**
 * Makes a namespace on another thread; the event loop only waits, and hears of it later. The answer owns its descriptor;
 * `what` names the owner in messages. Throws when it cannot even be begun.
 */
export function startDescriptor(wanted: Wanted, what: string, waiting: Waiting): void {
	const begun = first(wanted);
	createLater(begun.call, (answer) => {
		if (typeof answer === "number") waiting.resolve(new Descriptor(answer, what));
		else
			runLater(again(wanted, begun, answer, what)).then(
				(descriptor) => waiting.resolve(descriptor),
				(error: unknown) => waiting.reject(error),
			);
	});
}

async function runLater<T>(steps: Steps<T>): Promise<T> {
	let next = steps.next();
	while (!next.done) {
		const step = next.value;
		let answer: Answer | undefined;
		if ("call" in step) answer = await new Promise<Answer>((resolve) => createLater(step.call, resolve));
		else await sleep(step.pause);
		next = steps.next(answer);
	}
	return next.value;
}

/** The same on the calling thread. */
export function createDescriptorSync(wanted: Wanted, what: string): Descriptor {
	const begun = first(wanted);
	const answer = createNow(begun.call);
	return typeof answer === "number"
		? new Descriptor(answer, what)
		: runNow(again(wanted, begun, answer, what));
}

function runNow<T>(steps: Steps<T>): T {
	let next = steps.next();
	while (!next.done) {
		let answer: Answer | undefined;
		if ("call" in next.value) answer = createNow(next.value.call);
		else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, next.value.pause);
		next = steps.next(answer);
	}
	return next.value;
}

function finish(wanted: Wanted, helpers: Helpers, answer: Answer, what: string): Descriptor {
	if (typeof answer === "number") return new Descriptor(answer, what);
	if (answer.error < 0) throw creationError(wanted, helpers, answer);
	const descriptor = new Descriptor(answer.fd, what);
	const different = answer.maps === undefined ? undefined : differs(wanted, answer.maps);
	if (different === undefined) return descriptor;
	descriptor.close();
	throw different;
}
