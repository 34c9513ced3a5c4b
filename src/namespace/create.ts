import { setTimeout as sleep } from "node:timers/promises";
import { UsernsError } from "../errors.ts";
import { checkLimits, procText } from "../mapping/proc.ts";
import { Descriptor } from "../native/descriptor.ts";
import { type CreateArguments, native, type Outcome, ownProgram } from "../native/load.ts";
import { creationError, differs, isCountLimit, isMapRefused } from "./creation-errors.ts";
import { findHelpers, type Helpers, helperText, NO_HELPERS } from "./helpers.ts";
import { isOneOwn, type Wanted } from "./options.ts";
import { cutAtOwn } from "./own-extents.ts";

function prepare({ mapping, setgroups }: Wanted, direct: boolean, helpers: Helpers): CreateArguments {
	const uid = cutAtOwn("uid", mapping.uidMappings);
	const gid = cutAtOwn("gid", mapping.gidMappings);
	if (uid.length === 0 && gid.length === 0) {
		throw new UsernsError("ERR_USERNS_INVALID_MAPPING", "an empty mapping makes no user namespace", {
			hint: "Give at least one extent, such as 0:100000:65536.",
		});
	}
	// Cutting makes more lines, which may be more than the kernel takes.
	checkLimits("uid", uid);
	checkLimits("gid", gid);
	const uidText = procText(uid);
	return [
		uidText,
		gid === uid ? uidText : procText(gid),
		setgroups,
		direct,
		helpers.uid,
		helpers.gid,
		helpers.uid === null ? "" : helperText("uid", uid),
		helpers.gid === null ? "" : helperText("gid", gid),
		ownProgram("userns-join"),
	];
}

/**
 * Milliseconds to wait between tries after ENOSPC, 205 in all: the kernel gives a namespace's count back only when an
 * RCU grace period and a work queue are through, measured a median 59 ms after the process was reaped.
 */
const PAUSES = [5, 10, 20, 40, 60, 70];

/** What a creation asks of the one who runs it: a call of the C part, or a pause in milliseconds. */
type Step = { call: CreateArguments } | { pause: number };
type Steps<T> = Generator<Step, T, Outcome | undefined>;

/** `outcome`: what the call answered already. */
function* persist(call: CreateArguments, outcome: Outcome): Steps<Outcome> {
	for (const pause of PAUSES) {
		if (!isCountLimit(outcome)) break;
		yield { pause };
		outcome = (yield { call }) as Outcome;
	}
	return outcome;
}

/** The first call, and the helpers that it may use. */
interface First {
	call: CreateArguments;
	helpers: Helpers;
}

/**
 * The kernel itself is asked whether the caller may write the maps. Root nearly always may, so the helpers are looked for
 * only when it said no; others nearly never may, so with a second map they are looked for first.
 */
function first(wanted: Wanted): First {
	const { mapping, method } = wanted;
	const early =
		method === "newuidmap" || (method === "auto" && process.geteuid?.() !== 0 && !isOneOwn(mapping));
	const helpers = early ? findHelpers(mapping) : NO_HELPERS;
	return { call: prepare(wanted, method !== "newuidmap", helpers), helpers };
}

/** What else there is to try when the first call was refused; without a need for it this is not begun. */
function* again(wanted: Wanted, { call, helpers }: First, refusal: Outcome, what: string): Steps<Descriptor> {
	const { mapping, method } = wanted;
	let outcome = yield* persist(call, refusal);
	if (method === "auto" && helpers === NO_HELPERS && isMapRefused(outcome) && !isOneOwn(mapping)) {
		const found = findHelpers(mapping);
		const withHelpers = prepare(wanted, true, found);
		outcome = yield* persist(withHelpers, (yield { call: withHelpers }) as Outcome);
		return finish(wanted, found, outcome, what);
	}
	return finish(wanted, helpers, outcome, what);
}

/**
 * Makes a namespace in the thread pool; the event loop only waits. The answer owns its descriptor; `what` names the
 * owner in messages.
 */
export async function createDescriptor(wanted: Wanted, what: string): Promise<Descriptor> {
	const begun = first(wanted);
	const outcome = await native().create(...begun.call, true);
	if (outcome.error >= 0) return finish(wanted, begun.helpers, outcome, what);
	const steps = again(wanted, begun, outcome, what);
	let next = steps.next();
	while (!next.done) {
		let answer: Outcome | undefined;
		if ("call" in next.value) answer = await native().create(...next.value.call, true);
		else await sleep(next.value.pause);
		next = steps.next(answer);
	}
	return next.value;
}

/** The same on the calling thread. */
export function createDescriptorSync(wanted: Wanted, what: string): Descriptor {
	const begun = first(wanted);
	const outcome = native().create(...begun.call, false);
	if (outcome.error >= 0) return finish(wanted, begun.helpers, outcome, what);
	const steps = again(wanted, begun, outcome, what);
	let next = steps.next();
	while (!next.done) {
		let answer: Outcome | undefined;
		if ("call" in next.value) answer = native().create(...next.value.call, false);
		else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, next.value.pause);
		next = steps.next(answer);
	}
	return next.value;
}

function finish(wanted: Wanted, helpers: Helpers, outcome: Outcome, what: string): Descriptor {
	if (outcome.error < 0) throw creationError(wanted, helpers, outcome);
	const descriptor = new Descriptor(outcome.fd, what);
	const different = outcome.maps === undefined ? undefined : differs(wanted, outcome.maps);
	if (different === undefined) return descriptor;
	descriptor.close();
	throw different;
}
