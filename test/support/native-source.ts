import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./child.ts";

/** One call in native/, and where it is. */
export interface Call {
	file: string;
	/** The function that it is in. */
	inside: string;
	/** The function that is called; for a raw one the system call. */
	name: string;
	/** What stands between its parentheses. */
	args: string;
	/** All of the function that it is in. */
	body: string;
}

/** C without comments, and with nothing in its strings that looks like code. */
function bare(text: string): string {
	return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*|"(?:\\.|[^"\\])*"/g, (found) =>
		found[0] === '"' ? '""' : " ",
	);
}

/** Everything from an opening parenthesis to the one that closes it. */
function inParentheses(text: string, open: number): string {
	let depth = 0;
	for (let at = open; at < text.length; at++) {
		if (text[at] === "(") depth++;
		if (text[at] === ")" && --depth === 0) return text.slice(open + 1, at);
	}
	throw new Error(`nothing closes the parenthesis of ${text.slice(open, open + 40)}`);
}

function callsIn(file: string): Call[] {
	const text = bare(readFileSync(join(root, "native", file), "utf8"));
	// A function begins in the first column and ends with a brace there (the files are formatted so).
	const functions = text.matchAll(/^[A-Za-z_][^;{}=]*?\b(\w+)\([^;{}]*\)\s*\n\{\n([\s\S]*?)\n\}/gm);
	return [...functions].flatMap(([, inside = "", body = ""]) => {
		const found = [...body.matchAll(/\b(\w+)\(/g)].map((match) => {
			const args = inParentheses(body, match.index + match[0].length - 1);
			const raw = /^(raw_syscall\d|syscall)$/.test(match[1] ?? "")
				? /\bSYS_(\w+)/.exec(args)?.[1]
				: undefined;
			return { file, inside, name: raw ?? match[1] ?? "", args, body };
		});
		// A system call in assembly has no parentheses.
		const assembly = body.includes("__asm__") ? [...body.matchAll(/\bSYS_(\w+)/g)] : [];
		const names = new Set(assembly.map(([, name = ""]) => name));
		return [...found, ...[...names].map((name) => ({ file, inside, name, args: "", body }))];
	});
}

let calls: Call[] | undefined;

/** Every call of every function of native/. */
export function nativeCalls(): readonly Call[] {
	calls ??= readdirSync(join(root, "native"))
		.filter((file) => /\.[ch]$/.test(file))
		.sort()
		.flatMap(callsIn);
	return calls;
}
