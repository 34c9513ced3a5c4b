import { invalidArgument, show } from "../errors.ts";
import { ownMap } from "../options.ts";
import { type Detected, detectSyntax } from "./detect-syntax.ts";
import { checkMaps } from "./input.ts";
import type { Lists } from "./long-lists.ts";
import { checkSyntax, type MappingSyntax, type ResolvedContext, syntaxes } from "./syntax/table.ts";
import { checkedAs } from "./text-errors.ts";

/** Reads a text or a list of texts in the syntax, or detects the syntax. The errors name the syntax. */
export function readText(
	text: string | readonly string[],
	syntax: MappingSyntax | undefined,
	context: ResolvedContext,
): Detected {
	const list = Array.isArray(text) ? text : [text];
	const texts = ownMap(list, (each) => (typeof each === "string" ? each : undefined));
	if (texts.length === 0 || !texts.every((each) => each !== undefined)) {
		throw invalidArgument(`a mapping text must be a string or an array of strings, not ${show(text)}`);
	}
	const reader =
		(used: ResolvedContext) =>
		(name: MappingSyntax): Lists => {
			const maps = syntaxes[name].parse(texts, used);
			return checkedAs(name, () => checkMaps(maps));
		};
	const read = reader(context);
	if (syntax === undefined) {
		return detectSyntax(texts.join(" "), read, reader({ ...context, skipOtherLines: true }));
	}
	checkSyntax(syntax);
	return { lists: read(syntax), syntax };
}
