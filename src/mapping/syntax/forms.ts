import { type MappingSyntax, syntaxes, syntaxNames } from "./table.ts";

/** A column of the table of syntaxes, by the name of the syntax. */
function column(read: (name: MappingSyntax) => string): Readonly<Record<MappingSyntax, string>> {
	return Object.freeze(
		Object.fromEntries(syntaxNames.map((name) => [name, read(name)])) as Record<MappingSyntax, string>,
	);
}

/** Every syntax with its form in one line, for help texts and documents. */
export const mappingSyntaxes: Readonly<Record<MappingSyntax, string>> = column((name) => syntaxes[name].form);

/** Every syntax with the program or file that it belongs to. */
export const mappingSyntaxUses: Readonly<Record<MappingSyntax, string>> = column(
	(name) => syntaxes[name].usedBy,
);
