import { invalidArgument, invalidMapping, show, type UsernsError } from "../../errors.ts";
import { checkBounds, type IdKind, type IdMap, isWithinBounds, MAX_ID } from "../extent.ts";
import { readUpTo, valueChecked, valueError } from "../text-errors.ts";

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

/** Returns the ID of a user or group name, or undefined for an unknown name. */
export type IdOfName = (name: string, kind: IdKind) => number | undefined;

/**
 * Reads a text once, from left to right, so that the time is proportional to its length. Its errors name the syntax, the line if
 * there are several, the column, the number of the extent, what was expected and what was found.
 */
export class Scanner {
	readonly #syntax: string;
	readonly #text: string;
	readonly #hint: string;
	readonly #names: IdOfName | undefined;
	#at = 0;
	/** The number of the extent that is read, from 1. */
	extent = 1;

	constructor(syntax: string, text: string, hint: string, names?: IdOfName) {
		this.#syntax = syntax;
		this.#text = text;
		this.#hint = hint;
		this.#names = names;
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

	/** The first of the characters that comes next, without stepping over anything. */
	next(characters: string): string | undefined {
		for (let at = this.#at; at < this.#text.length; at++) {
			if (characters.includes(this.#text[at] as string)) return this.#text[at];
		}
		return undefined;
	}

	/** True at a newline, or at the carriage return before it, and at the end of the text. */
	get atLineEnd(): boolean {
		return this.done || "\r\n".includes(this.#text[this.#at] as string);
	}

	/** True at a blank or newline, and at the end of the text. */
	get atWordEnd(): boolean {
		return this.done || " \t\r\n".includes(this.#text[this.#at] as string);
	}

	/** Steps to the next line that is neither empty nor a comment. Returns false at the end of the text. */
	nextLine(comment = "#"): boolean {
		for (;;) {
			this.skip(" \t\r\n");
			if (this.done) return false;
			if (!comment.includes(this.#text[this.#at] as string)) return true;
			this.until("\n");
		}
	}

	/** Steps over the end of a line. Throws if the line continues. */
	endLine(): void {
		this.skip(" \t\r");
		if (!this.done && !this.take("\n")) throw this.expected("the end of the line");
	}

	/** Steps over blanks and tabs. Throws if there are none. */
	blank(after: string): void {
		if (this.skip(" \t") === 0) throw this.expected(`a blank after ${after}`);
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

	/**
	 * Reads an ID: a number, or a name if the context resolves names. A name needs a kind, because `alice:1:1` is a line of
	 * /etc/subuid too. Returns the ID of each kind, in the order of `kinds`.
	 */
	ids(label: string, kinds: readonly IdKind[] | undefined): number | readonly number[] {
		const names = this.#names;
		if (names === undefined || !NAME_START.test(this.#text[this.#at] ?? "")) return this.number(label);
		const start = this.#at;
		if (kinds === undefined) {
			throw this.expected(`${label}, a decimal number, or "u:", "g:" or "b:" before a name`, start);
		}
		const name = this.until(NAME_END);
		return kinds.map((kind) => {
			const id = names(name, kind);
			const what = kind === "uid" ? "user" : "group";
			if (id === undefined) {
				throw this.wrong(
					`there is no ${what} ${show(name)}`,
					start,
					`Write the ID of the ${what} as a number.`,
				);
			}
			if (Number.isInteger(id) && id >= 0 && id <= MAX_ID) return id;
			throw invalidArgument(
				`names: the ID of the ${what} ${show(name)} must be from 0 to ${MAX_ID}, not ${show(id)}`,
			);
		});
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
		const message = `${this.#syntax} text, ${this.#where(at)}: expected ${what}, found ${found}`;
		return readUpTo(invalidMapping(message, this.#hint), at);
	}

	/** An error in a text that is well formed. */
	wrong(message: string, at: number, hint?: string): UsernsError {
		return valueError(`${this.#syntax} text, ${this.#where(at)}: ${message}`, hint ?? this.#hint);
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

/** A name does not begin with a digit, and ends at a character that separates the parts of a text. */
const NAME_START = /[\p{L}_]/u;
const NAME_END = ":,; \t\r\n";

/** The character between the numbers of an extent, or a function that steps over one and throws if there is none. */
type Separator = string | ((after: string) => void);

function separate(scanner: Scanner, separator: Separator, after: string): void {
	if (typeof separator === "string") scanner.expect(separator, after);
	else separator(after);
}

/**
 * Reads `containerID:hostID:size`, with any separator, and adds the extent for the kinds; for both without `kinds`. With
 * `outsideFirst`, the host ID stands first.
 */
export function scanExtent(
	scanner: Scanner,
	separator: Separator,
	maps: ParsedMaps,
	kinds: readonly IdKind[] | undefined,
	outsideFirst = false,
): void {
	const start = scanner.at;
	const first = outsideFirst ? "hostID" : "containerID";
	const left = scanner.ids(first, kinds);
	separate(scanner, separator, first);
	const second = outsideFirst ? "containerID" : "hostID";
	const right = scanner.ids(second, kinds);
	separate(scanner, separator, second);
	const size = scanner.number("size");
	const container = outsideFirst ? right : left;
	const host = outsideFirst ? left : right;
	if (typeof container === "number" && typeof host === "number") {
		addExtent(maps, kinds ?? BOTH, scanner.check({ containerID: container, hostID: host, size }, start));
	} else {
		for (const [i, kind] of (kinds ?? BOTH).entries()) {
			const of = (ids: number | readonly number[]) => (typeof ids === "number" ? ids : (ids[i] as number));
			maps[kind].push(scanner.check({ containerID: of(container), hostID: of(host), size }, start));
		}
	}
}

const KINDS_OF_LETTER: Readonly<Record<"u:" | "g:" | "b:", readonly IdKind[]>> = {
	"u:": ["uid"],
	"g:": ["gid"],
	"b:": BOTH,
};
const LETTERS = Object.keys(KINDS_OF_LETTER) as (keyof typeof KINDS_OF_LETTER)[];

/** Steps over `u:`, `g:` or `b:` and returns the kinds that it stands for; undefined if there is no letter. */
export function scanLetter(scanner: Scanner): readonly IdKind[] | undefined {
	const letter = scanner.atDigit ? undefined : scanner.takeOne(LETTERS);
	return letter === undefined ? undefined : KINDS_OF_LETTER[letter];
}
