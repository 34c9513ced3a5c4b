import { setTimeout as sleep } from "node:timers/promises";
import { UsernsError } from "../errors.ts";
import type { Extents } from "../mapping/extent.ts";
import { extentsOf } from "../mapping/mapping.ts";
import { checkLimits, procText } from "../mapping/proc.ts";
import type { CreateArguments, CreateResult } from "../native/addon.ts";
import { createLater, createNow } from "../native/create-requests.ts";
import { Descriptor } from "../native/descriptor.ts";
import { type Operation, runAsync, runSync, syncOrAsync } from "../native/operation.ts";
import { freeMapping } from "../subid/free.ts";
import { cutAtOwn } from "./caller-map.ts";
import { createError, isCountLimit, isMapRefused, mappingDiffers } from "./create-errors.ts";
import { type CreateRequest, isOneOwn } from "./create-options.ts";
import { findNewidmap, type NewidmapPrograms, NO_NEWIDMAP, newidmapText } from "./newidmap.ts";

const NO_TEXTS: readonly string[] = [];

/** The arguments of the add-on's create method. */
function toNative(
	{ mapping, setgroups }: CreateRequest,
	direct: boolean,
	newidmap: NewidmapPrograms,
): CreateArguments {
	const asked = extentsOf(mapping);
	const uid = cutAtOwn("uid", asked.uid);
	const gid = cutAtOwn("gid", asked.gid);
	if (uid.length === 0 && gid.length === 0) {
		throw new UsernsError(
			"ERR_USERNS_INVALID_MAPPING",
			"cannot create a user namespace: the mapping is empty",
			{ hint: `Give at least one extent, such as ${freeMapping()}.` },
		);
	}
	// Cutting makes more lines, which can exceed the kernel's limits.
	if (uid !== asked.uid) checkLimits("uid", uid);
	if (gid !== asked.gid) checkLimits("gid", gid);
	return {
		uidMap: procText(uid),
		gidMap: gid === uid ? null : procText(gid),
		allow: setgroups === "allow",
		direct,
		helpers: newidmap === NO_NEWIDMAP ? NO_TEXTS : newidmapTexts(newidmap, uid, gid),
	};
}

function newidmapTexts(newidmap: NewidmapPrograms, uid: Extents, gid: Extents): readonly string[] {
	return [
		newidmap.uid ?? "",
		newidmap.gid ?? "",
		newidmap.uid === null ? "" : newidmapText("uid", uid),
		newidmap.gid === null ? "" : newidmapText("gid", gid),
	];
}

/**
 * Milliseconds between two attempts after ENOSPC, 205 in all. The kernel decrements the count of user namespaces only
 * after an RCU grace period and a work queue: a median of 59 ms, measured, after the process was reaped.
 */
const PAUSES = [5, 10, 20, 40, 60, 70];

function create(call: CreateArguments): Operation<CreateResult> {
	return syncOrAsync(
		() => createNow(call),
		() => new Promise((resolve) => createLater(call, resolve)),
	);
}

function pause(milliseconds: number): Operation<void> {
	return syncOrAsync(
		() => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds),
		() => sleep(milliseconds),
	);
}

/** Repeats a creation while a limit on the number of namespaces refuses it. `answer` is the result of the first attempt. */
function* retryAtLimit(call: CreateArguments, answer: CreateResult): Operation<CreateResult> {
	let last = answer;
	for (const milliseconds of PAUSES) {
		if (typeof last === "number" || !isCountLimit(last)) break;
		yield* pause(milliseconds);
		last = yield* create(call);
	}
	return last;
}

/** Cached, because geteuid(2) costs as much time as four system calls here. A refusal by the kernel resets it. */
let wasRoot = false;

function isRoot(): boolean {
	wasRoot ||= process.geteuid?.() === 0;
	return wasRoot;
}

interface FirstAttempt {
	call: CreateArguments;
	newidmap: NewidmapPrograms;
}

/**
 * The kernel decides whether the caller may write the maps. Root usually may, so newuidmap and newgidmap are
 * looked up only after a refusal. Other users may rarely write more than their own ID, so for them the
 * programs are looked up first.
 */
function firstAttempt(request: CreateRequest): FirstAttempt {
	const { mapping, method } = request;
	const early = method === "newuidmap" || (method === "auto" && !isRoot() && !isOneOwn(mapping));
	const newidmap = early ? findNewidmap(mapping) : NO_NEWIDMAP;
	return { call: toNative(request, method !== "newuidmap", newidmap), newidmap };
}

/** Continues after a first attempt that did not return a descriptor: retries, or uses newuidmap and newgidmap. */
function* completeCreate(
	request: CreateRequest,
	{ call, newidmap }: FirstAttempt,
	first: CreateResult,
	what: string,
): Operation<Descriptor> {
	const { mapping, method } = request;
	const answer = yield* retryAtLimit(call, first);
	const tryPrograms =
		typeof answer !== "number" &&
		method === "auto" &&
		newidmap === NO_NEWIDMAP &&
		isMapRefused(answer) &&
		!isOneOwn(mapping);
	if (!tryPrograms) return toDescriptor(request, newidmap, answer, what);
	wasRoot = false;
	const programs = findNewidmap(mapping);
	const second = toNative(request, true, programs);
	const last = yield* retryAtLimit(second, yield* create(second));
	return toDescriptor(request, programs, last, what);
}

/** The callbacks of createDescriptor(). One of the two is called, once. They must not throw. */
export interface DescriptorCallbacks {
	resolve(descriptor: Descriptor): void;
	reject(error: unknown): void;
}

/**
 * Creates a user namespace on another thread and passes its descriptor to a callback. `what` names the descriptor's owner in
 * messages. Throws if the creation cannot be started.
 */
export function createDescriptor(request: CreateRequest, what: string, callbacks: DescriptorCallbacks): void {
	const first = firstAttempt(request);
	createLater(first.call, (answer) => {
		if (typeof answer === "number") callbacks.resolve(new Descriptor(answer, what));
		else
			runAsync(completeCreate(request, first, answer, what)).then(
				(descriptor) => callbacks.resolve(descriptor),
				(error: unknown) => callbacks.reject(error),
			);
	});
}

/** Like `createDescriptor`, on the calling thread. */
export function createDescriptorSync(request: CreateRequest, what: string): Descriptor {
	const first = firstAttempt(request);
	const answer = createNow(first.call);
	return typeof answer === "number"
		? new Descriptor(answer, what)
		: runSync(completeCreate(request, first, answer, what));
}

function toDescriptor(
	request: CreateRequest,
	newidmap: NewidmapPrograms,
	answer: CreateResult,
	what: string,
): Descriptor {
	if (typeof answer === "number") return new Descriptor(answer, what);
	if (answer.error < 0) throw createError(request, newidmap, answer);
	const descriptor = new Descriptor(answer.fd, what);
	const different = answer.maps === undefined ? undefined : mappingDiffers(request, answer.maps);
	if (different === undefined) return descriptor;
	descriptor.close();
	throw different;
}
