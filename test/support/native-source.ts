import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./child.ts";

/** One call in native/, with its position. */
export interface Call {
	/** Relative to native/. */
	file: string;
	/** The function that contains it. */
	inside: string;
	/** The function that is called; for a raw one the system call. */
	name: string;
	/** The text between its parentheses. */
	args: string;
	/** The function that contains it: the text before its name, and its body. */
	head: string;
	body: string;
}

/** C without comments, and without code-like text in strings. */
function bare(text: string): string {
	return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*|"(?:\\.|[^"\\])*"/g, (found) =>
		found[0] === '"' ? '""' : " ",
	);
}

/** The text from an opening parenthesis to the one that closes it. */
function inParentheses(text: string, open: number): string {
	let depth = 0;
	for (let at = open; at < text.length; at++) {
		if (text[at] === "(") depth++;
		if (text[at] === ")" && --depth === 0) return text.slice(open + 1, at);
	}
	throw new Error(`nothing closes the parenthesis of ${text.slice(open, open + 40)}`);
}

interface Function {
	file: string;
	head: string;
	name: string;
	body: string;
}

/** A function begins in the first column and ends with a brace there, because the files are formatted this way. */
function functionsIn(file: string): Function[] {
	const text = bare(readFileSync(join(root, "native", file), "utf8"));
	const found = text.matchAll(/^([A-Za-z_][^;{}=]*?)\b(\w+)\([^;{}]*\)\s*\n\{\n([\s\S]*?)\n\}/gm);
	return [...found].map(([, head = "", name = "", body = ""]) => ({ file, head, name, body }));
}

function callsIn({ file, head, name: inside, body }: Function): Call[] {
	const found = [...body.matchAll(/\b(\w+)\(/g)].map((match) => {
		const args = inParentheses(body, match.index + match[0].length - 1);
		const raw = /^(raw_syscall\d|syscall)$/.test(match[1] ?? "") ? /\bSYS_(\w+)/.exec(args)?.[1] : undefined;
		return { file, inside, name: raw ?? match[1] ?? "", args, head, body };
	});
	// A system call in assembly has no parentheses.
	const assembly = body.includes("__asm__") ? [...body.matchAll(/\bSYS_(\w+)/g)] : [];
	const names = new Set(assembly.map(([, name = ""]) => name));
	return [...found, ...[...names].map((name) => ({ file, inside, name, args: "", head, body }))];
}

let functions: Function[] | undefined;

/** Every function of native/. */
export function nativeFunctions(): readonly Function[] {
	functions ??= readdirSync(join(root, "native"), { recursive: true, encoding: "utf8" })
		.filter((file) => /\.[ch]$/.test(file))
		.sort()
		.flatMap(functionsIn);
	return functions;
}

/** Every call of every function of native/. */
export function nativeCalls(): readonly Call[] {
	return nativeFunctions().flatMap(callsIn);
}

/** The value of a number that a file in native/ defines: a decimal number, or a product with another of these. */
export function nativeNumber(file: string, name: string): number {
	const text = readFileSync(join(root, "native", file), "utf8");
	const [, factor, of] = new RegExp(`^#define ${name} \\(?(\\d+)(?: \\* (\\w+)\\))?$`, "m").exec(text) ?? [];
	if (factor === undefined) throw new Error(`native/${file} does not define ${name} as a number`);
	return Number(factor) * (of === undefined ? 1 : nativeNumber(file, of));
}

/** The number of threads of the worker pool, without those in a long wait. */
export const POOL_THREADS: number = nativeNumber("addon/worker-pool.c", "MOST_THREADS");
