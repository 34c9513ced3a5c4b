import type { InspectOptions, InspectOptionsStylized } from "node:util";
import { ownCopy } from "../options.ts";

/**
 * Makes util.inspect() and console.log() print the objects of a prototype as `NAME { … }` with some fields. By default they print
 * nothing of private fields, and `[Getter]` for the lists of a long mapping.
 */
export function inspectAs<T extends object>(
	prototype: T,
	name: string,
	fieldsOf: (object: T) => object,
): void {
	function inspectFields(
		this: T,
		depth: number,
		options: InspectOptionsStylized,
		inspect: (value: unknown, options: InspectOptions) => string,
	): string {
		if (depth < 0) return options.stylize(`[${name}]`, "special");
		return `${name} ${inspect(fieldsOf(this), options)}`;
	}
	const property = ownCopy({ value: inspectFields, writable: true, configurable: true });
	Object.defineProperty(prototype, Symbol.for("nodejs.util.inspect.custom"), property);
}
