import { invalidMapping, show, UsernsError } from "../errors.ts";
import { isValueError } from "./syntax/scanner.ts";
import { type MappingSyntax, syntaxes, syntaxNames } from "./syntax/table.ts";

const DETECTED = syntaxNames.filter((name) => syntaxes[name].isDetected);
const NAMED_ONLY = syntaxNames.filter((name) => !syntaxes[name].isDetected);

/**
 * Parses a text for which no syntax is named: tries each syntax that is detected, and returns the mapping if all syntaxes that
 * accept the text give the same one. Throws `ERR_USERNS_INVALID_MAPPING` if they give different mappings, naming the syntaxes,
 * or if none accepts the text: with the error of
 * the first syntax whose form the text has, otherwise with the error of `colon`.
 */
export function detectSyntax<T extends { id: string }>(text: string, parse: (syntax: MappingSyntax) => T): T {
	const found = new Map<string, { value: T; by: MappingSyntax[] }>();
	let first: UsernsError | undefined;
	let wrongValue: UsernsError | undefined;
	for (const name of DETECTED) {
		try {
			const value = parse(name);
			const same = found.get(value.id);
			if (same === undefined) found.set(value.id, { value, by: [name] });
			else same.by.push(name);
		} catch (error) {
			if (!(error instanceof UsernsError)) throw error;
			first ??= error;
			if (isValueError(error)) wrongValue ??= error;
		}
	}
	const [only, second] = [...found.values()];
	if (only !== undefined && second === undefined) return only.value;
	if (only === undefined && wrongValue !== undefined) throw wrongValue;
	if (only === undefined) {
		throw invalidMapping(
			`no syntax fits ${show(text)}: ${first?.message}`,
			`Name the syntax to see the mistake: ${DETECTED.join(", ")}; or ${NAMED_ONLY.join(", ")}, which must be named.`,
		);
	}
	const meanings = [...found.values()].map(({ value, by }) => `${by.join(" and ")} (${value.id})`);
	throw invalidMapping(
		`the mapping ${show(text)} is ambiguous: it can be ${meanings.join(" or ")}`,
		"Name the syntax.",
	);
}
