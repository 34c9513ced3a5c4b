import { Mapping, UsernsError } from "../index.ts";

/** What --map takes beside a mapping, and the option of Mapping.rootless that it stands for. */
const WORDS: Record<string, { keepId: boolean }> = { auto: { keepId: false }, "keep-id": { keepId: true } };

/** The MAP of a command that makes a namespace: a mapping, or a word for all that the caller may map without root. */
export function readMap(text: string): Mapping {
	const word = Object.hasOwn(WORDS, text) ? WORDS[text] : undefined;
	if (word === undefined) return Mapping.from(text);
	if (process.geteuid?.() === 0) {
		throw new UsernsError(
			"ERR_USERNS_INVALID_ARGUMENT",
			`--map ${text} is what a user without root may map, and this is root`,
			{ hint: "Give --map with IDs that /etc/subuid assigns to no user, for example 0:2100000000:65536." },
		);
	}
	return Mapping.rootless(word);
}

/** Behind MAP_HELP, for such a command. */
export const AUTO_HELP = `
Without root, "auto" is all that the caller may map: root inside is the caller,
and 1… are the subordinate IDs of /etc/subuid and /etc/subgid. With "keep-id"
the caller keeps the own ID, and root inside is the first subordinate ID.`;
