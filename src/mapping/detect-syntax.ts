import { invalidMapping, show, UsernsError } from "../errors.ts";
import type { Lists } from "./long-lists.ts";
import { printColon } from "./syntax/colon.ts";
import { isDetected, type MappingSyntax, syntaxNames } from "./syntax/table.ts";
import { isValueError, positionOf } from "./text-errors.ts";

/** The lists of a text, and the first syntax in the order of the table that reads it so. */
export interface Detected {
	lists: Lists;
	syntax: MappingSyntax;
}

/** What the grammars say of one text. */
interface Answers {
	/** By the canonical text. */
	meanings: Map<string, { lists: Lists; by: MappingSyntax[] }>;
	/** The error about a meaning, or else of the grammar that read furthest; the first of several. */
	error: UsernsError | undefined;
}

function ask(names: readonly MappingSyntax[], parse: (syntax: MappingSyntax) => Lists): Answers {
	const answers: Answers = { meanings: new Map(), error: undefined };
	const rank = (error: UsernsError) => (isValueError(error) ? Number.POSITIVE_INFINITY : positionOf(error));
	for (const name of names) {
		try {
			const lists = parse(name);
			const id = printColon(lists.uid, lists.gid);
			const same = answers.meanings.get(id);
			if (same === undefined) answers.meanings.set(id, { lists, by: [name] });
			else same.by.push(name);
		} catch (error) {
			if (!(error instanceof UsernsError) || error.code !== "ERR_USERNS_INVALID_MAPPING") throw error;
			if (answers.error === undefined || rank(error) > rank(answers.error)) answers.error = error;
		}
	}
	return answers;
}

/**
 * Parses a text for which no syntax is named: tries each syntax that is detected, and returns the mapping if all syntaxes that accept the
 * text give the same one. Throws `ERR_USERNS_INVALID_MAPPING` if they give different mappings, naming the syntaxes, or if none accepts the
 * text. An error about the meaning of the text then takes precedence over every error about its form. Among errors about the form, the one
 * of a grammar that reads the text if the lines of other settings are skipped, as `parseFile` does, comes first, and then the one of the
 * grammar that read furthest.
 */
export function detectSyntax(
	text: string,
	parse: (syntax: MappingSyntax) => Lists,
	parseFile: (syntax: MappingSyntax) => Lists = parse,
): Detected {
	if (text.trim() === "") {
		throw invalidMapping(
			"the mapping text is empty",
			"Give at least one extent, such as 0:2100000000:65536.",
		);
	}
	const tried = syntaxNames.filter((name) => isDetected(name, text));
	const { meanings, error } = ask(tried, parse);
	const [only, second] = [...meanings.values()];
	if (only !== undefined && second === undefined) {
		return { lists: only.lists, syntax: only.by[0] as MappingSyntax };
	}
	if (only !== undefined) {
		const all = [...meanings].map(([id, { by }]) => `${by.join(" and ")} (${id})`);
		throw invalidMapping(
			`the mapping ${show(text)} is ambiguous: it can be ${all.join(" or ")}`,
			"Name the syntax.",
		);
	}
	if (error !== undefined && isValueError(error)) throw error;
	const whole = ask(tried, parseFile);
	if (whole.error !== undefined && isValueError(whole.error)) throw whole.error;
	const [file] = [...whole.meanings.values()].flatMap(({ by }) => by);
	const ofFile = file === undefined ? undefined : ask([file], parse).error;
	throw invalidMapping(
		`no syntax fits ${show(text)}: ${(ofFile ?? error)?.message}`,
		ofFile?.hint ?? hintFor(tried, error, parse),
	);
}

/** Names the syntaxes that read the text but are not detected, or has the form of the syntax that read furthest. */
function hintFor(
	tried: readonly MappingSyntax[],
	error: UsernsError | undefined,
	parse: (syntax: MappingSyntax) => Lists,
): string {
	const others = syntaxNames.filter((name) => !tried.includes(name));
	const readers = [...ask(others, parse).meanings.values()].flatMap(({ by }) => by);
	if (readers.length > 0) return `Name the syntax if the text is meant so: ${readers.join(" or ")}.`;
	if (error !== undefined && positionOf(error) > 0) return error.hint;
	return `Name the syntax to see the mistake: ${syntaxNames.join(", ")}.`;
}
