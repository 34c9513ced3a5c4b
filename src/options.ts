import { invalidArgument, show } from "./errors.ts";

/*
 * Any code of the process can change the prototype of an object, and so can parsed JSON that a careless library merges
 * ("prototype pollution"). Therefore no value from a caller is read through a prototype. Each public function copies its
 * options once and reads only the copy, so that a getter or a proxy cannot return one value to the check and another to
 * the use.
 */

/** The options of a call without options. */
const NONE: object = Object.freeze(Object.create(null));

/**
 * Options without which a path is looked up, or a program runs, elsewhere, with the hint for the value undefined. For them
 * undefined is an error: the pid of a child that failed to start is undefined, and the mount would be attached on the host.
 */
const NEVER_UNDEFINED: ReadonlyMap<string, string> = new Map([
	[
		"into",
		"Leave into out to use the mount namespace of this process. The pid of a child that failed to start is undefined.",
	],
	["in", "Leave in out for the view of this process. The pid of a child that failed to start is undefined."],
	["join", "Leave join out to stay in the namespaces of this process."],
	["targetRoot", "Leave targetRoot out to find the target below the root directory of this process."],
	["resolve", "Leave resolve out to follow symbolic links."],
]);

/** True for Object.prototype of this realm, or of a vm context. */
function isRootPrototype(prototype: object): boolean {
	return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

/**
 * Throws if the object inherits an option from a class or from an object of defaults. Ignoring it would be dangerous:
 * without `into` the mount would be attached on the host, and without `readonly` it would be writable.
 */
function refuseInherited(what: string, options: object, known: readonly string[]): void {
	let prototype: object | null = Object.getPrototypeOf(options);
	for (; prototype !== null && !isRootPrototype(prototype); prototype = Object.getPrototypeOf(prototype)) {
		for (const key of known) {
			if (!Object.hasOwn(prototype, key) || Object.hasOwn(options, key)) continue;
			throw invalidArgument(
				`${what}: the option ${show(key)} is inherited from a prototype, and only own properties are read`,
				"Copy the inherited options into the object: {...defaults, ...options}.",
			);
		}
	}
}

/**
 * Copies the own enumerable properties of the options into an object without a prototype. Reads each property once.
 * Throws if `options` is neither undefined nor an object, has a key that is not in `known`, or inherits a key in `known`
 * from a prototype other than Object.prototype.
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
			throw invalidArgument(`${what}: unknown option ${show(key)}`, `The options are: ${known.join(", ")}.`);
		}
		const value = (options as Record<string, unknown>)[key];
		const hint = value === undefined ? NEVER_UNDEFINED.get(key) : undefined;
		if (hint !== undefined) throw invalidArgument(`${what}: ${key} is present but undefined`, hint);
		copy[key] = value;
	}
	return copy as T;
}

/** The value of an own property, or undefined. For objects with other properties too, such as parsed JSON. */
export function ownValue(object: object, key: string): unknown {
	return Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined;
}

/** A copy of an object's own enumerable properties, without a prototype. */
export function ownCopy<T extends object>(object: T): T {
	return Object.assign(Object.create(null), object) as T;
}

/** Copies this process's environment, faster than ownCopy(), which asks for the attributes of each variable. */
export function ownEnvironment(): NodeJS.ProcessEnv {
	const copy = Object.create(null);
	for (const name of Object.getOwnPropertyNames(process.env)) copy[name] = process.env[name];
	return copy;
}

/** Maps an array and reads each element once. A hole is undefined, even if a prototype has an element at its index. */
export function ownMap<T>(list: readonly unknown[], each: (value: unknown, index: number) => T): T[] {
	const { length } = list;
	const copy: T[] = [];
	for (let i = 0; i < length; i++) copy.push(each(Object.hasOwn(list, i) ? list[i] : undefined, i));
	return copy;
}
