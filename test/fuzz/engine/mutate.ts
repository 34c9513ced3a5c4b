import type { Random } from "./random.ts";

const NUMBERS = [
	..."0 1 2 9 10 65534 65535 65536 100000 2147483647 2147483648 4294967293 4294967294 4294967295 4294967296".split(
		" ",
	),
	..."9007199254740991 9007199254740992 9223372036854775807 18446744073709551615 18446744073709551616".split(
		" ",
	),
	..."-1 -0 +1 01 0x10 010 1e3 1e400 1.5 NaN Infinity".split(" "),
	"9".repeat(40),
	"1".repeat(400),
	`0${"0".repeat(60)}1`,
];

/**
 * Characters that look like others, are invisible, combine, or end a line for some programs only, and bytes that are
 * not UTF-8.
 */
const STRANGE: readonly Uint8Array[] = [
	..."０ ١ ² ½ : ： ﹕ – − ﬂ é e\u0301 😀 \ufeff \u00a0 \u2028 \u2029 \u0085 \u200b \u202e \u0000 \u007f \u001b[2J".split(
		" ",
	),
	..."\t|\n|\r\n|\r|\v|\f| |\\040|\\n|__proto__|constructor|toString|%s|$&".split("|"),
]
	.map((text): Uint8Array => Buffer.from(text, "utf8"))
	.concat(
		[
			[0xff],
			[0xfe, 0xff],
			[0xc0, 0x80],
			[0xed, 0xa0, 0x80],
			[0xf4, 0x90, 0x80, 0x80],
			[0x80],
			[0xe2, 0x80],
		].map((bytes) => Uint8Array.from(bytes)),
	);

export const USUAL_SIZE = 4096;
/**
 * The most that one argument of a command may have (MAX_ARG_STRLEN), and more than any file in /proc that the package
 * reads.
 */
export const MOST_SIZE = 131_072;

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
	const result = new Uint8Array(bytes.length - remove + insert.length);
	result.set(bytes.subarray(0, at));
	result.set(insert, at);
	result.set(bytes.subarray(at + remove), at + insert.length);
	return result;
}

/** The digits around or after an offset, as [start, end], or [offset, offset] if there are none. */
function digitsNear(bytes: Uint8Array, from: number): [number, number] {
	const isDigit = (at: number) => (bytes[at] ?? 0) >= 48 && (bytes[at] ?? 0) <= 57;
	let start = from;
	while (start < bytes.length && !isDigit(start)) start++;
	if (start === bytes.length) return [from, from];
	while (isDigit(start - 1)) start--;
	let end = start;
	while (isDigit(end)) end++;
	return [start, end];
}

type Mutation = (
	bytes: Uint8Array,
	random: Random,
	words: readonly Uint8Array[],
	other: Uint8Array,
) => Uint8Array;

/** A range of the bytes, mostly a short one. */
function piece(bytes: Uint8Array, random: Random): [number, number] {
	const at = random.below(bytes.length + 1);
	const most = random.below(4) === 0 ? bytes.length : 16;
	return [at, Math.min(bytes.length - at, random.below(most + 1))];
}

const MUTATIONS: readonly Mutation[] = [
	// Changes a bit or a byte.
	(bytes, random) => {
		const copy = Uint8Array.from(bytes);
		const at = random.below(copy.length);
		if (copy.length > 0) copy[at] = (copy[at] as number) ^ (1 << random.below(8));
		return copy;
	},
	(bytes, random) => {
		const copy = Uint8Array.from(bytes);
		if (copy.length > 0) copy[random.below(copy.length)] = random.below(256);
		return copy;
	},
	// Inserts a word of the grammar, or replaces a range by it.
	(bytes, random, words) => splice(bytes, random.below(bytes.length + 1), 0, random.pick(words)),
	(bytes, random, words) => {
		const [at, length] = piece(bytes, random);
		return splice(bytes, at, length, random.pick(words));
	},
	// Replaces a number by another, or by one more or less.
	(bytes, random) => {
		const [start, end] = digitsNear(bytes, random.below(bytes.length + 1));
		return splice(bytes, start, end - start, Buffer.from(random.pick(NUMBERS)));
	},
	(bytes, random) => {
		const [start, end] = digitsNear(bytes, random.below(bytes.length + 1));
		if (start === end || end - start > 20) return bytes;
		const value = BigInt(Buffer.from(bytes.subarray(start, end)).toString("latin1"));
		const near = value + BigInt(random.pick([-1, 1, -value === 0n ? 1 : 2, 65536]));
		return splice(bytes, start, end - start, Buffer.from(String(near)));
	},
	// Inserts strange characters.
	(bytes, random) => splice(bytes, random.below(bytes.length + 1), 0, random.pick(STRANGE)),
	// Removes, repeats or moves a range.
	(bytes, random) => {
		const [at, length] = piece(bytes, random);
		return splice(bytes, at, length, new Uint8Array(0));
	},
	(bytes, random) => {
		const [at, length] = piece(bytes, random);
		return splice(bytes, at, 0, bytes.subarray(at, at + length));
	},
	(bytes, random) => {
		const [at, length] = piece(bytes, random);
		const moved = bytes.slice(at, at + length);
		const rest = splice(bytes, at, length, new Uint8Array(0));
		return splice(rest, random.below(rest.length + 1), 0, moved);
	},
	// Cuts off the end.
	(bytes, random) => bytes.slice(0, random.below(bytes.length + 1)),
	// Appends the end of another input.
	(bytes, random, _, other) =>
		Buffer.concat([
			bytes.subarray(0, random.below(bytes.length + 1)),
			other.subarray(random.below(other.length + 1)),
		]),
	// Inserts a range of another input.
	(bytes, random, _, other) => {
		const [at, length] = piece(other, random);
		return splice(bytes, random.below(bytes.length + 1), 0, other.subarray(at, at + length));
	},
];

/** Repeats a range many times, because superlinear time shows only in long inputs. */
function repeat(bytes: Uint8Array, random: Random, most: number): Uint8Array {
	const [at, length] = piece(bytes, random);
	if (length === 0) return bytes;
	const room = Math.max(0, Math.floor((most - bytes.length) / length));
	const again = Buffer.alloc(length * random.below(Math.min(room, 1 + random.below(room + 1)) + 1));
	for (let to = 0; to < again.length; to += length) again.set(bytes.subarray(at, at + length), to);
	return splice(bytes, at, 0, again);
}

/** Makes one input out of another. */
export function mutate(
	bytes: Uint8Array,
	random: Random,
	words: readonly Uint8Array[],
	other: Uint8Array,
): Uint8Array {
	let result = bytes;
	for (let left = 1 + random.below(random.below(4) === 0 ? 12 : 3); left > 0; left--) {
		result = random.pick(MUTATIONS)(result, random, words, other);
	}
	const much = random.below(512);
	if (much < 8) result = repeat(result, random, much === 0 ? MOST_SIZE : USUAL_SIZE);
	const most = much === 0 ? MOST_SIZE : USUAL_SIZE;
	return result.length > most ? result.slice(0, most) : result;
}
