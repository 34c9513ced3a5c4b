import { type MappingSyntax, syntaxes } from "./table.ts";

/** Every mapping syntax with its form in one line, for help texts. */
export const mappingSyntaxes: Readonly<Record<MappingSyntax, string>> = Object.freeze(
	Object.fromEntries(Object.entries(syntaxes).map(([name, { form }]) => [name, form])) as Record<
		MappingSyntax,
		string
	>,
);
