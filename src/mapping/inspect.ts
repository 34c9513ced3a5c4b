import type { InspectOptions, InspectOptionsStylized } from "node:util";
import { ownCopy } from "../options.ts";
import type { Lists } from "./long-lists.ts";

/**
 * Makes util.inspect() and console.log() print the objects of a prototype as `NAME { uidMappings, gidMappings }`. By default
 * they print `[Getter]` for the lists of a long mapping.
 */
export function inspectAs<T extends object>(
	prototype: T,
	name: string,
	listsOf: (mapping: T) => Lists,
): void {
	function inspectMapping(
		this: T,
		depth: number,
		options: InspectOptionsStylized,
		inspect: (value: unknown, options: InspectOptions) => string,
	): string {
		if (depth < 0) return options.stylize(`[${name}]`, "special");
		const { uid, gid } = listsOf(this);
		return `${name} ${inspect({ uidMappings: uid, gidMappings: gid }, options)}`;
	}
	const property = ownCopy({ value: inspectMapping, writable: true, configurable: true });
	Object.defineProperty(prototype, Symbol.for("nodejs.util.inspect.custom"), property);
}
