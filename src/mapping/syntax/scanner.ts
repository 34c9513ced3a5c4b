import { invalidMapping, show, type UsernsError } from "../../errors.ts";
import { checkBounds, type IdKind, type IdMap, isWithinBounds } from "../extent.ts";

/** What a text says, before it is put in canonical form. */
export interface ParsedMaps {
	uid: IdMap[];
	gid: IdMap[];
}

export const BOTH: readonly IdKind[] = ["uid", "gid"];

export function noMaps(): ParsedMaps {
	return { uid: [], gid: [] };
}

/** Adds an extent to each of the kinds. Nobody changes it afterwards, so both can have the same. */
export function addExtent(maps: ParsedMaps, kinds: readonly IdKind[], extent: IdMap): void {
	for (const kind of kinds) maps[kind].push(extent);
}

/**
 * Goes through a text once, from left to right, and knows where it is: every error names the syntax, the line where
 * there are several, the column, the extent, what was expected and what was found. Nothing is ever read twice, so
 * that no text takes longer than its length.
 */
export class Scanner {
	readonly #syntax: string;
	readonly #text: string;
	readonly #hint: string;
	#at = 0;
	/** Counts from 1; the extent that is being read. */
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

	/** A digit stands here. */
	get atDigit(): boolean {
		return isDigit(this.#text.charCodeAt(this.#at));
	}

	/** Steps over the word when it stands here. */
	take(word: string): boolean {
		if (!this.#text.startsWith(word, this.#at)) return false;
		this.#at += word.length;
		return true;
	}

	/** The first of the words that stands here, stepped over. */
	takeOne<T extends string>(words: readonly T[]): T | undefined {
		for (const word of words) if (this.take(word)) return word;
		return undefined;
	}

	expect(word: string, behind: string): void {
		if (!this.take(word)) throw this.expected(`${JSON.stringify(word)} behind ${behind}`);
	}

	/** Steps over characters of that set; answers how many. */
	skip(characters: string): number {
		const start = this.#at;
		while (!this.done && characters.includes(this.#text[this.#at] as string)) this.#at++;
		return this.#at - start;
	}

	/** What stands here up to one of the characters or the end, stepped over. */
	until(characters: string): string {
		const start = this.#at;
		while (!this.done && !characters.includes(this.#text[this.#at] as string)) this.#at++;
		return this.#text.slice(start, this.#at);
	}

	/**
	 * A decimal number of 32 bits. No sign and no leading zero: the kernel reads `01750` as 1750, C as 1000 and shells
	 * as either, so nobody can know what was meant.
	 */
	number(name: string): number {
		const text = this.#text;
		const start = this.#at;
		let at = start;
		let value = 0;
		// Behind the end there is NaN, which is no digit.
		for (let code = text.charCodeAt(at); isDigit(code); code = text.charCodeAt(++at)) {
			value = value * 10 + (code - 48);
		}
		this.#at = at;
		if (at === start) throw this.expected(`${name}, a decimal number`, start);
		if (at > start + 1 && text[start] === "0") throw this.expected(`${name} without a leading zero`, start);
		if (value > 0xffffffff) throw this.expected(`${name} in 32 bits, at most 4294967295`, start);
		return value;
	}

	/** Checks the three numbers of an extent that began at `start`. */
	check(extent: IdMap, start: number): IdMap {
		if (isWithinBounds(extent)) return extent;
		checkBounds(extent, () => `${this.#syntax} text, ${this.#where(start)}`);
		return extent;
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

	/** For what is wrong although it is well formed. */
	wrong(message: string, at: number, hint?: string): UsernsError {
		return invalidMapping(`${this.#syntax} text, ${this.#where(at)}: ${message}`, hint ?? this.#hint);
	}

	#where(at: number): string {
		const before = this.#text.slice(0, at);
		const line = before.split("\n").length;
		const column = at - (before.lastIndexOf("\n") + 1) + 1;
		return `${line > 1 ? `line ${line}, ` : ""}column ${column} (extent ${this.extent})`;
	}
}

function isDigit(code: number): boolean {
	return code >= 48 && code <= 57;
}

/** `containerID:hostID:size`, for all grammars that separate the three numbers by one character. */
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
