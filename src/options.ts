import { invalidArgument, show } from "./errors.ts";

/*
 * An object's prototype can be changed by any code of the process, and by parsed JSON that a careless library merges
 * ("prototype pollution"). So no value from a caller is read through a prototype: each public function copies its
 * options once, and reads only the copy. Therefore a getter or a proxy cannot return one value to the check and another
 * to the use.
 */

/** The options of a call that passes none. */
const NONE: object = Object.freeze(Object.create(null));

/**
 * Options that select a place other than this process's own, for which undefined must not mean "left out": the pid of a
 * child that failed to start is undefined, and the mount would land on the host.
 */
const PLACES: ReadonlyMap<string, string> = new Map([
	[
		"into",
		"Leave into out to work in the mount namespace of this process. The pid of a child that failed to start is undefined: handle its error event.",
	],
	["targetRoot", "Leave targetRoot out to find the target under the root directory of this process."],
	["resolve", "Leave resolve out to follow symbolic links."],
]);

/** True for the prototype that every object of a realm has: this one's, or that of a vm context. */
function isRootPrototype(prototype: object): boolean {
	return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

/**
 * Throws for an option that the object has from a prototype of its own, such as a class or an object of defaults: without
 * its `into` a mount would land on the host, and without its `readonly` it could be written.
 */
function refuseInherited(what: string, options: object, known: readonly string[]): void {
	let prototype: object | null = Object.getPrototypeOf(options);
	for (; prototype !== null && !isRootPrototype(prototype); prototype = Object.getPrototypeOf(prototype)) {
		for (const key of known) {
			if (!Object.hasOwn(prototype, key) || Object.hasOwn(options, key)) continue;
			throw invalidArgument(
				`${what}: the option ${show(key)} is not the object's own, but its prototype's`,
				"Own enumerable properties count alone: copy the defaults into the object, {...defaults, ...options}.",
			);
		}
	}
}

/**
 * A copy of the options, without a prototype and with each property read once. Only own enumerable properties count.
 * Throws unless `options` is undefined or an object with no key but those in `known`, neither of its own nor from a
 * prototype other than Object.prototype.
 */
export function copyOptions<T extends object>(what: string, options: unknown, known: readonly string[]): T {
	if (options === undefined) return NONE as T;
	if (typeof options !== "object" || options === null || Array.isArray(options)) {
		throw invalidArgument(`${what}: the options must be an object, not ${show(options)}`);
	}
	const copy = Object.create(null) as Record<string, unknown>;
	refuseInherited(what, options, known);
	for (const key of Object.keys(options)) {
		if (!known.includes(key)) {
			throw invalidArgument(
				`${what}: there is no option ${show(key)}`,
				`The options are: ${known.join(", ")}.`,
			);
		}
		const value = (options as Record<string, unknown>)[key];
		const hint = value === undefined ? PLACES.get(key) : undefined;
		if (hint !== undefined) throw invalidArgument(`${what}: ${key} is present but undefined`, hint);
		copy[key] = value;
	}
	return copy as T;
}

/** An own property of an object that may have others, such as parsed JSON. */
export function ownValue(object: object, key: string): unknown {
	return Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined;
}

/** A copy of an object's own enumerable properties, without a prototype. */
export function ownCopy<T extends object>(object: T): T {
	return Object.assign(Object.create(null), object) as T;
}

/** Reads each element of an array once. A hole is undefined, even if a prototype has an element at its index. */
export function ownMap<T>(list: readonly unknown[], each: (value: unknown, index: number) => T): T[] {
	const { length } = list;
	const copy: T[] = [];
	for (let i = 0; i < length; i++) copy.push(each(Object.hasOwn(list, i) ? list[i] : undefined, i));
	return copy;
}
