import { setTimeout as sleep } from "node:timers/promises";
import { UsernsError } from "../errors.ts";
import type { Extents } from "../mapping/extent.ts";
import { extentsOf } from "../mapping/mapping.ts";
import { checkLimits, procText } from "../mapping/proc.ts";
import type { Answer, Creation } from "../native/addon.ts";
import { createLater, createNow } from "../native/create-requests.ts";
import { Descriptor } from "../native/descriptor.ts";
import { freeMapping } from "../subid/free.ts";
import { cutAtOwn } from "./caller-map.ts";
import { type CreateRequest, isOneOwn } from "./create-options.ts";
import { creationError, differs, isCountLimit, isMapRefused } from "./creation-errors.ts";
import { findNewidmap, type NewidmapPrograms, NO_NEWIDMAP, newidmapText } from "./newidmap.ts";

const NO_WORDS: readonly string[] = [];

function prepare(
	{ mapping, setgroups }: CreateRequest,
	direct: boolean,
	newidmap: NewidmapPrograms,
): Creation {
	const asked = extentsOf(mapping);
	const uid = cutAtOwn("uid", asked.uid);
	const gid = cutAtOwn("gid", asked.gid);
	if (uid.length === 0 && gid.length === 0) {
		throw new UsernsError("ERR_USERNS_INVALID_MAPPING", "an empty mapping makes no user namespace", {
			hint: `Give at least one extent, such as ${freeMapping()}.`,
		});
	}
	// Cutting makes more lines, which may be more than the kernel takes.
	if (uid !== asked.uid) checkLimits("uid", uid);
	if (gid !== asked.gid) checkLimits("gid", gid);
	return {
		uidMap: procText(uid),
		gidMap: gid === uid ? null : procText(gid),
		allow: setgroups === "allow",
		direct,
		helpers: newidmap === NO_NEWIDMAP ? NO_WORDS : words(newidmap, uid, gid),
	};
}

function words(newidmap: NewidmapPrograms, uid: Extents, gid: Extents): readonly string[] {
	return [
		newidmap.uid ?? "",
		newidmap.gid ?? "",
		newidmap.uid === null ? "" : newidmapText("uid", uid),
		newidmap.gid === null ? "" : newidmapText("gid", gid),
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

/** The first call, and the newidmap that it may use. */
interface First {
	call: Creation;
	newidmap: NewidmapPrograms;
}

/**
 * The kernel itself is asked whether the caller may write the maps. Root nearly always may, so the newidmap are looked for
 * only when it said no; others nearly never may, so with a second map they are looked for first.
 */
function first(request: CreateRequest): First {
	const { mapping, method } = request;
	const early = method === "newuidmap" || (method === "auto" && !isRoot() && !isOneOwn(mapping));
	const newidmap = early ? findNewidmap(mapping) : NO_NEWIDMAP;
	return { call: prepare(request, method !== "newuidmap", newidmap), newidmap };
}

/** What else there is to try when the first call did not simply succeed; without a need for it this is not begun. */
function* again(
	request: CreateRequest,
	{ call, newidmap }: First,
	begun: Answer,
	what: string,
): Steps<Descriptor> {
	const { mapping, method } = request;
	const answer = yield* persist(call, begun);
	if (typeof answer === "number" || method !== "auto" || newidmap !== NO_NEWIDMAP) {
		return finish(request, newidmap, answer, what);
	}
	if (!isMapRefused(answer) || isOneOwn(mapping)) return finish(request, newidmap, answer, what);
	wasRoot = false;
	const found = findNewidmap(mapping);
	const withHelpers = prepare(request, true, found);
	const last = yield* persist(withHelpers, (yield { call: withHelpers }) as Answer);
	return finish(request, found, last, what);
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
export function createDescriptor(request: CreateRequest, what: string, waiting: Waiting): void {
	const begun = first(request);
	createLater(begun.call, (answer) => {
		if (typeof answer === "number") waiting.resolve(new Descriptor(answer, what));
		else
			runLater(again(request, begun, answer, what)).then(
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
export function createDescriptorSync(request: CreateRequest, what: string): Descriptor {
	const begun = first(request);
	const answer = createNow(begun.call);
	return typeof answer === "number"
		? new Descriptor(answer, what)
		: runNow(again(request, begun, answer, what));
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

function finish(
	request: CreateRequest,
	newidmap: NewidmapPrograms,
	answer: Answer,
	what: string,
): Descriptor {
	if (typeof answer === "number") return new Descriptor(answer, what);
	if (answer.error < 0) throw creationError(request, newidmap, answer);
	const descriptor = new Descriptor(answer.fd, what);
	const different = answer.maps === undefined ? undefined : differs(request, answer.maps);
	if (different === undefined) return descriptor;
	descriptor.close();
	throw different;
}
