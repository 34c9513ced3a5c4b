import { userns } from "./child.ts";

let pages: ReadonlyMap<string, string> | undefined;

/** Every command as it is called, `userns map convert`, with its help page. */
export function helpPages(): ReadonlyMap<string, string> {
	if (pages !== undefined) return pages;
	const found = new Map<string, string>();
	const read = (...words: string[]) => {
		const { stdout } = userns(...words, "--help");
		found.set(["userns", ...words].join(" "), stdout);
		const commands = /^Commands:\n((?: {2}.*\n)*)/m.exec(stdout)?.[1] ?? "";
		for (const [, name = ""] of commands.matchAll(/^ {2}([a-z]+) /gm))
			if (name !== "help") read(...words, name);
	};
	read();
	pages = found;
	return found;
}
