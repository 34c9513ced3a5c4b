import { invalidMapping, show, UsernsError } from "../errors.ts";
import { type MappingSyntax, syntaxes } from "./syntax/table.ts";

/**
 * Tries every grammar in which a text speaks for itself. One meaning is the answer, however many grammars give it; two
 * are an error that names them; none is the colon grammar's error, with the names of the others.
 */
export function detectSyntax<T extends { id: string }>(text: string, parse: (syntax: MappingSyntax) => T): T {
	const found = new Map<string, { value: T; by: MappingSyntax[] }>();
	let first: UsernsError | undefined;
	const names = (Object.keys(syntaxes) as MappingSyntax[]).filter((name) => syntaxes[name].recognised);
	for (const name of names) {
		try {
			const value = parse(name);
			const same = found.get(value.id);
			if (same === undefined) found.set(value.id, { value, by: [name] });
			else same.by.push(name);
		} catch (error) {
			if (!(error instanceof UsernsError)) throw error;
			first ??= error;
		}
	}
	const [only, second] = [...found.values()];
	if (only !== undefined && second === undefined) return only.value;
	if (only === undefined) {
		throw invalidMapping(
			`no syntax fits ${show(text)}: ${first?.message}`,
			`It could be one of: ${names.join(", ")}; or, when named: lxc, podman, subid. Name the one that is meant to see what is wrong.`,
		);
	}
	const meanings = [...found.values()].map(({ value, by }) => `${by.join(" and ")} (${value.id})`);
	throw invalidMapping(
		`${show(text)} is ambiguous: it can be ${meanings.join(" or ")}`,
		"Name the syntax that is meant.",
	);
}
