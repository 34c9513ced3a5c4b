import { type MappingSyntax, syntaxes, syntaxNames } from "./table.ts";

/** The form of every mapping syntax in one line, for help texts. `lxc` is the form of lxc-usernsexec(1). */
export const mappingSyntaxes: Readonly<Record<MappingSyntax, string>> = Object.freeze(
	Object.fromEntries(syntaxNames.map((name) => [name, syntaxes[name].form])) as Record<MappingSyntax, string>,
);
