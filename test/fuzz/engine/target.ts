import { UsernsError, type UsernsErrorCode } from "../../../src/index.ts";

/** One parser under attack. */
export interface Target {
	name: string;
	/** Words of the grammar, which the mutations strew in. */
	words: readonly (string | Uint8Array)[];
	/** Documented examples. What fuzzing found interesting lies beside them in the corpus. */
	seeds: readonly (string | Uint8Array)[];
	/**
	 * One input: throws whatever breaks the oracle. The answer tells what became of it, in few words: an input whose
	 * answer no other gave is kept.
	 */
	run(bytes: Uint8Array): string;
	/** Inputs that grow: ten times as much must not take a hundred times as long. */
	growing?: Readonly<Record<string, (n: number) => string | Uint8Array>>;
}

export function toBytes(input: string | Uint8Array): Uint8Array {
	return typeof input === "string" ? Buffer.from(input, "utf8") : input;
}

/**
 * The text that a program gets to see of such bytes. Mostly UTF-8, as Node reads files and arguments, where what is no
 * UTF-8 becomes U+FFFD; behind a byte of ones UTF-16, in which halves of characters can stand alone.
 */
export function toText(bytes: Uint8Array): string {
	const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	return bytes[0] === 0xff ? buffer.subarray(1).toString("utf16le") : buffer.toString("utf8");
}

/** The oracle is broken. */
export class Finding extends Error {}

export function must(condition: unknown, what: () => string): asserts condition {
	if (!condition) throw new Finding(what());
}

/** Longer than that and no message is read; the longest that a text of ours can cause is far below. */
const LONGEST_MESSAGE = 20_000;

/** What a call answered, or a UsernsError of one of these codes with all that belongs to one. Anything else is a finding. */
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
		// The kernel has more ways to say no than there is advice.
		must(error.hint || error.errno !== undefined, () => `no hint: ${error.message}`);
		JSON.stringify(error);
		return { error };
	}
}

/** A message without what is in it of the input: as many as there are ways to fail. */
export function skeleton({ message }: Error): string {
	return message
		.replace(/JSON: .*/s, "JSON")
		.replace(/"(?:[^"\\]|\\.)*"?/g, '""')
		.replace(/\d+/g, "0")
		.slice(0, 120);
}

/** A number as its size class, so that there are few of them. */
export function about(count: number): string {
	return `~${count < 4 ? count : 2 ** Math.floor(Math.log2(count))}`;
}
