import { UsernsError, type UsernsErrorCode } from "../../../src/index.ts";

/** One parser to fuzz. */
export interface Target {
	name: string;
	/** Words of the grammar that the mutations insert. */
	words: readonly (string | Uint8Array)[];
	/** Documented examples. The corpus adds the inputs that fuzzing found. */
	seeds: readonly (string | Uint8Array)[];
	/**
	 * Reads one input. Throws if the input violates the oracle. Returns a short description of the result: an input
	 * with a new result is kept.
	 */
	run(bytes: Uint8Array): string;
	/** Inputs that grow: a tenfold input must not take a hundred times as long. */
	growing?: Readonly<Record<string, (n: number) => string | Uint8Array>>;
}

export function toBytes(input: string | Uint8Array): Uint8Array {
	return typeof input === "string" ? Buffer.from(input, "utf8") : input;
}

/**
 * The text that a program reads from these bytes. Mostly UTF-8, as Node reads files and arguments, with U+FFFD for
 * invalid bytes; after a byte of ones UTF-16, in which unpaired surrogates can occur.
 */
export function toText(bytes: Uint8Array): string {
	const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	return bytes[0] === 0xff ? buffer.subarray(1).toString("utf16le") : buffer.toString("utf8");
}

/** Reports that the oracle is violated. */
export class Finding extends Error {}

export function must(condition: unknown, what: () => string): asserts condition {
	if (!condition) throw new Finding(what());
}

/** The longest message that a test accepts. The longest one that a text of this package can cause is much shorter. */
const LONGEST_MESSAGE = 20_000;

/** The result of a call, or its UsernsError with one of these codes and every field. Any other error is a finding. */
export function attempt<T>(
	codes: readonly UsernsErrorCode[],
	call: () => T,
): { value: T } | { error: UsernsError } {
	try {
		return { value: call() };
	} catch (error) {
		if (!(error instanceof UsernsError)) throw error;
		must(codes.includes(error.code), () => `the code ${error.code}: ${error.message}`);
		must(error.message.length < LONGEST_MESSAGE, () => `a message of ${error.message.length} characters`);
		const words = `${error.message} ${error.hint}`;
		must(!/\p{Cc}/u.test(words), () => `a control character in ${JSON.stringify(words)}`);
		// Refusals of the kernel can have no hint, because there are too many of them.
		must(error.hint || error.errno !== undefined, () => `no hint: ${error.message}`);
		JSON.stringify(error);
		return { error };
	}
}

/** A message without the parts that come from the input, so that there are as many messages as ways to fail. */
export function skeleton({ message }: Error): string {
	return message
		.replace(/JSON: .*/s, "JSON")
		.replace(/"(?:[^"\\]|\\.)*"?/g, '""')
		.replace(/\d+/g, "0")
		.slice(0, 120);
}

/** A number as its size class, so that there are few classes. */
export function about(count: number): string {
	return `~${count < 4 ? count : 2 ** Math.floor(Math.log2(count))}`;
}
