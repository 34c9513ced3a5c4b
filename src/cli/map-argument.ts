import { Option } from "commander";
import { Mapping, UsernsError } from "../index.ts";

/** The words that --map accepts instead of a mapping, with the options of Mapping.rootless() that they stand for. */
const WORDS: Record<string, { keepId: boolean }> = { auto: { keepId: false }, "keep-id": { keepId: true } };

/** Reads the MAP of a command that creates a namespace: a mapping, `auto` or `keep-id`. */
export function readMap(text: string): Mapping {
	const word = Object.hasOwn(WORDS, text) ? WORDS[text] : undefined;
	if (word === undefined) return Mapping.from(text);
	if (process.geteuid?.() === 0) {
		throw new UsernsError(
			"ERR_USERNS_INVALID_ARGUMENT",
			`--map ${text} needs a caller without root privilege, but the caller is root`,
			{
				hint: "Give a mapping to host IDs that /etc/subuid assigns to no user, such as --map 0:2100000000:65536.",
			},
		);
	}
	return Mapping.rootless(word);
}

/** Throws for `auto` and `keep-id` as the MAP of a mount. */
export function refuseWord(text: string): void {
	if (!Object.hasOwn(WORDS, text)) return;
	throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", `--map ${text} is for user namespaces only`, {
		hint: "Give the extents of the mount, such as --map 0:2100000000:65536.",
	});
}

/** The option --setgroups of a command that creates a namespace. */
export function setgroupsOption(description: string): Option {
	return new Option("--setgroups <word>", description).choices(["allow", "deny"]);
}

/** The help about MAP, below the options of a command that mounts. */
export const MOUNT_MAP_HELP = `
MAP is a list of extents [u:|g:|b:]containerID:hostID:size, separated by commas.
containerID is the first ID on disk, hostID the first ID visible through the
mount, and size the number of IDs. The prefix u: selects user IDs, g: group IDs,
and b: or no prefix both.`;

/** The help about MAP, below the options of a command that creates a namespace. */
export const EXTENTS_HELP = `
MAP is a list of extents [u:|g:|b:]containerID:hostID:size, separated by commas.
containerID is the first ID inside the namespace, hostID the first ID outside,
and size the number of IDs. The prefix u: selects user IDs, g: group IDs, and b:
or no prefix both.`;

/** The same for a command that needs no root. */
export const NAMESPACE_MAP_HELP: string = `${EXTENTS_HELP}

Without root, MAP can also be a word. "auto" maps root inside to the caller, and
the IDs above 0 to the caller's subordinate IDs (/etc/subuid, /etc/subgid).
"keep-id" maps the caller's own ID to itself, and root inside to the first
subordinate ID.`;
