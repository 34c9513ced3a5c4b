import { UsernsError } from "../../src/index.ts";

/** The result of a call, or its error, as text that can be compared. */
export async function outcome(call: () => unknown): Promise<string> {
	try {
		return JSON.stringify((await call()) ?? null);
	} catch (error) {
		if (!(error instanceof UsernsError)) return String(error);
		const { code, message, hint, errno, syscall, step, mapping } = error;
		return [code, message, hint, errno, syscall, step, mapping].join(" | ");
	}
}

/** Runs the body while Object.prototype has one more property. */
async function withProperty<T>(
	name: string,
	property: PropertyDescriptor,
	body: () => Promise<T>,
): Promise<T> {
	const descriptor = Object.assign(Object.create(null), property, { configurable: true, enumerable: true });
	if (name in Object.prototype) throw new Error(`Object.prototype has ${name} already`);
	Object.defineProperty(Object.prototype, name, descriptor);
	try {
		return await body();
	} finally {
		delete (Object.prototype as Record<string, unknown>)[name];
	}
}

/** The outcome of the call while every object inherits the value under that name. */
export function outcomeWith(name: string, value: unknown, call: () => unknown): Promise<string> {
	return withProperty(name, { value, writable: true }, () => outcome(call));
}

/** The positions in the package's files that read the name through Object.prototype during the call. */
export async function readersOf(name: string, call: () => unknown): Promise<string[]> {
	const readers = new Set<string>();
	const get = () => {
		const [, , reader = ""] = (new Error().stack ?? "").split("\n");
		if (/\/dist\/src\//.test(reader)) readers.add(reader.trim());
		return undefined;
	};
	/** An assignment creates an own property, as without the accessor. */
	function set(this: object, value: unknown): void {
		const property = { value, writable: true, enumerable: true, configurable: true };
		Object.defineProperty(this, name, Object.assign(Object.create(null), property));
	}
	await withProperty(name, { get, set }, () => outcome(call));
	return [...readers];
}

/** The names of the options that a function takes, from its own error. */
export async function optionsOf(refuse: (options: never) => unknown): Promise<string[]> {
	try {
		await refuse({ nonsense: 1 } as never);
	} catch (error) {
		const [, names] = /^The options are: (.*)\.$/.exec((error as UsernsError).hint ?? "") ?? [];
		if (names !== undefined) return names.split(", ");
	}
	throw new Error(`an unknown option was not refused: ${refuse}`);
}
