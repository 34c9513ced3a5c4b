import { invalidMapping, UsernsError } from "../errors.ts";

/*
 * Without a named syntax, several grammars read one text. The error that the caller gets is that of a text with a wrong meaning, such as
 * an overlap, because only the right grammar finds one; otherwise that of the grammar that read furthest.
 */

const positions = new WeakMap<object, number>();
const valueErrors = new WeakSet<object>();

/** Notes how many characters a grammar had read before its error. */
export function readUpTo<E extends object>(error: E, position: number): E {
	positions.set(error, position);
	return error;
}

export function positionOf(error: object): number {
	return positions.get(error) ?? 0;
}

/** An error about a text that has the form of its syntax, but not a meaning that is allowed. */
export function valueError(message: string, hint: string): UsernsError {
	const error = invalidMapping(message, hint);
	valueErrors.add(error);
	return error;
}

export function isValueError(error: object): boolean {
	return valueErrors.has(error);
}

/** Calls a function that checks the values of a text in the right form. Its error then is a value error. */
export function valueChecked<T>(check: () => T): T {
	try {
		return check();
	} catch (error) {
		if (error instanceof UsernsError) valueErrors.add(error);
		throw error;
	}
}

/** The same, and the message of the error begins with the name of the syntax. */
export function checkedAs<T>(syntax: string, check: () => T): T {
	try {
		return check();
	} catch (error) {
		if (!(error instanceof UsernsError)) throw error;
		throw valueError(`${syntax} text: ${error.message}`, error.hint);
	}
}
