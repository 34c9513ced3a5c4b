import { invalidMapping, show, UsernsError } from "../../errors.ts";
import { checkBounds, type IdKind, type IdMap, isWithinBounds } from "../extent.ts";

/** The extents of a text, in its order and not merged. */
export interface ParsedMaps {
	uid: IdMap[];
	gid: IdMap[];
}

export const BOTH: readonly IdKind[] = ["uid", "gid"];

export function noMaps(): ParsedMaps {
	return { uid: [], gid: [] };
}

/** Adds an extent to each of the kinds. Both lists have the same object, because extents are not changed later. */
export function addExtent(maps: ParsedMaps, kinds: readonly IdKind[], extent: IdMap): void {
	for (const kind of kinds) maps[kind].push(extent);
}

const valueErrors = new WeakSet<object>();

/** Calls a function that checks the values of a text in the right form. Its error then is a value error. */
export function valueChecked<T>(check: () => T): T {
	try {
		return check();
	} catch (error) {
		if (error instanceof UsernsError) valueErrors.add(error);
		throw error;
	}
}

/** True for the error of a text that has the form of its syntax, but a value that breaks a rule of the kernel. */
export function isValueError(error: object): boolean {
	return valueErrors.has(error);
}

/**
 * Reads a text once, from left to right, so that the time is proportional to its length. Its errors name the syntax, the line if
 * there are several, the column, the number of the extent, what was expected and what was found.
 */
export class Scanner {
	readonly #syntax: string;
	readonly #text: string;
	readonly #hint: string;
	#at = 0;
	/** The number of the extent that is read, from 1. */
	extent = 1;

	constructor(syntax: string, text: string, hint: string) {
		this.#syntax = syntax;
		this.#text = text;
		this.#hint = hint;
	}

	get at(): number {
		return this.#at;
	}

	get done(): boolean {
		return this.#at >= this.#text.length;
	}

	/** True if the next character is a digit. */
	get atDigit(): boolean {
		return isDigit(this.#text.charCodeAt(this.#at));
	}

	/** Steps over the word and returns true if it is next. */
	take(word: string): boolean {
		if (!this.#text.startsWith(word, this.#at)) return false;
		this.#at += word.length;
		return true;
	}

	/** Steps over the first of the words that is next, and returns it. */
	takeOne<T extends string>(words: readonly T[]): T | undefined {
		for (const word of words) if (this.take(word)) return word;
		return undefined;
	}

	expect(word: string, after: string): void {
		if (!this.take(word)) throw this.expected(`${JSON.stringify(word)} after ${after}`);
	}

	/** Steps over characters of a set and returns their number. */
	skip(characters: string): number {
		const start = this.#at;
		while (!this.done && characters.includes(this.#text[this.#at] as string)) this.#at++;
		return this.#at - start;
	}

	/** Steps over the text before one of the characters or the end, and returns it. */
	until(characters: string): string {
		const start = this.#at;
		while (!this.done && !characters.includes(this.#text[this.#at] as string)) this.#at++;
		return this.#text.slice(start, this.#at);
	}

	/**
	 * Reads a decimal number of 32 bits. A sign or a leading zero is an error, because `01750` is ambiguous: it is 1750 to the kernel,
	 * 1000 in C, and either in shells.
	 */
	number(name: string): number {
		const text = this.#text;
		const start = this.#at;
		let at = start;
		let value = 0;
		// After the end the code is NaN, which is not a digit.
		for (let code = text.charCodeAt(at); isDigit(code); code = text.charCodeAt(++at)) {
			value = value * 10 + (code - 48);
		}
		this.#at = at;
		if (at === start) throw this.expected(`${name}, a decimal number`, start);
		if (at > start + 1 && text[start] === "0") throw this.expected(`${name} without a leading zero`, start);
		if (value > 0xffffffff) throw this.expected(`${name} in 32 bits, at most 4294967295`, start);
		return value;
	}

	/** Checks the three numbers of an extent that starts at `start`. */
	check(extent: IdMap, start: number): IdMap {
		if (isWithinBounds(extent)) return extent;
		return valueChecked(() => {
			checkBounds(extent, (shown) => `${this.#syntax} text, ${this.#where(start, shown)}`);
			return extent;
		});
	}

	expected(what: string, at: number = this.#at): UsernsError {
		const rest = this.#text.slice(at, at + 61);
		const end = rest.search(/[\n,;]/);
		const found =
			at >= this.#text.length
				? "the end of the text"
				: show(end > 0 ? rest.slice(0, end) : end === 0 ? rest[0] : rest);
		return invalidMapping(
			`${this.#syntax} text, ${this.#where(at)}: expected ${what}, found ${found}`,
			this.#hint,
		);
	}

	/** An error in a text that is well formed. */
	wrong(message: string, at: number, hint?: string): UsernsError {
		return invalidMapping(`${this.#syntax} text, ${this.#where(at)}: ${message}`, hint ?? this.#hint);
	}

	#where(at: number, shown?: string): string {
		const before = this.#text.slice(0, at);
		const line = before.split("\n").length;
		const column = at - (before.lastIndexOf("\n") + 1) + 1;
		return `${line > 1 ? `line ${line}, ` : ""}column ${column} (extent ${this.extent}${shown === undefined ? "" : `: ${shown}`})`;
	}
}

function isDigit(code: number): boolean {
	return code >= 48 && code <= 57;
}

/** Reads `containerID:hostID:size`, with any one separator. */
export function scanTriple(scanner: Scanner, separator: string): IdMap {
	const start = scanner.at;
	const containerID = scanner.number("containerID");
	scanner.expect(separator, "containerID");
	const hostID = scanner.number("hostID");
	scanner.expect(separator, "hostID");
	const size = scanner.number("size");
	return scanner.check({ containerID, hostID, size }, start);
}

export const KINDS_OF_LETTER: Readonly<Record<"u" | "g" | "b", readonly IdKind[]>> = {
	u: ["uid"],
	g: ["gid"],
	b: BOTH,
};
