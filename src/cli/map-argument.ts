import { readFileSync } from "node:fs";
import { Option } from "commander";
import { findId, findUser, Mapping, type RootlessOptions, UsernsError } from "../index.ts";
import { rootMap } from "./root-map.ts";

/** The words that --map accepts instead of a mapping, with the options of Mapping.rootless() that they stand for. */
const WORDS: Record<string, RootlessOptions> = { auto: {}, "keep-id": { keepId: true } };

/** The options for `auto`, `keep-id` and `keep-id:uid=N,gid=N,size=N`, where each part can be left out; undefined for other texts. */
function wordOptions(text: string): RootlessOptions | undefined {
	if (Object.hasOwn(WORDS, text)) return WORDS[text];
	if (!text.startsWith("keep-id:")) return undefined;
	const found: Record<string, number> = Object.create(null);
	for (const part of text.slice("keep-id:".length).split(",")) {
		const [, name = "", digits] = /^(uid|gid|size)=(0|[1-9]\d{0,9})$/.exec(part) ?? [];
		if (digits === undefined || Object.hasOwn(found, name)) {
			throw new UsernsError(
				"ERR_USERNS_INVALID_ARGUMENT",
				`--map ${text}: ${JSON.stringify(part)} is no new uid=N, gid=N or size=N`,
				{
					hint: "Write keep-id:uid=N,gid=N,size=N; each part can be left out.",
				},
			);
		}
		found[name] = Number(digits);
	}
	const { size, ...keepId } = found;
	return { keepId, size };
}

/** Reads the MAP of a command that creates a namespace: a mapping, or a word for the IDs of `user`, by default those of the caller. */
export function readMap(text: string, user?: string): Mapping {
	const options = wordOptions(text);
	if (options === undefined && user === undefined) return readExtents(text);
	if (options === undefined) {
		throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", "--user needs --map auto or --map keep-id", {
			hint: "Leave --user out: the mapping has the IDs already.",
		});
	}
	const isRoot = user === undefined ? process.geteuid?.() === 0 : user === "root" || user === "0";
	if (isRoot && options.keepId === undefined) return rootMap();
	if (user !== undefined) return Mapping.rootless({ ...options, user: userOf(user) });
	if (!isRoot) return Mapping.rootless(options);
	throw new UsernsError(
		"ERR_USERNS_INVALID_ARGUMENT",
		`--map ${text} needs a caller without root privilege or --user, but the caller is root`,
		{
			hint:
				ownHint() ??
				"Give --user NAME, or a mapping to host IDs that /etc/subuid assigns to no user, such as --map 0:2100000000:65536.",
		},
	);
}

function userOf(text: string): string | number {
	return /^\d+$/.test(text) ? Number(text) : text;
}

/** The IDs inside of the user of --user, if `keep-id` keeps them. The library knows only those of the caller. */
export function keptIds(
	{ map, user }: { map?: string; user?: string },
	mapping: () => Mapping,
): { uid?: number | undefined; gid?: number | undefined } {
	if (map === undefined || user === undefined || wordOptions(map)?.keepId === undefined) return {};
	try {
		const { uid, gid } = findUser(userOf(user));
		return { uid: mapping().uidToContainer(uid), gid: mapping().gidToContainer(gid) };
	} catch {
		return {}; // an owner of IDs without an account
	}
}

/** The option --user of a command that creates a namespace. */
export function userOption(): Option {
	return new Option("--user <user>", "the user whose IDs the words of --map stand for, by name or uid");
}

/** The most IDs that a proposed mapping has. */
const MOST = 65536;

/** For root of a user namespace: a mapping to IDs that this namespace maps. Undefined for root of a host, and without /proc. */
function ownHint(): string | undefined {
	let own: Mapping;
	try {
		own = Mapping.fromProc(
			readFileSync("/proc/self/uid_map", "utf8"),
			readFileSync("/proc/self/gid_map", "utf8"),
		);
	} catch {
		return undefined;
	}
	const ranges = [own.uidMappings, own.gidMappings].map((extents) => {
		const [largest] = [...extents].sort((a, b) => b.size - a.size);
		// Without ID 0, which is the caller, if there are others.
		const skip = largest?.containerID === 0 && largest.size > 1 ? 1 : 0;
		return (
			largest && {
				first: largest.containerID + skip,
				size: Math.min(largest.size - skip, MOST),
				all: largest.size,
			}
		);
	});
	const [uid, gid] = ranges;
	if (uid === undefined || gid === undefined || (uid.all === ALL && gid.all === ALL)) return undefined;
	const both = uid.first === gid.first && uid.size === gid.size;
	const text = both
		? `0:${uid.first}:${uid.size}`
		: `u:0:${uid.first}:${uid.size},g:0:${gid.first}:${gid.size}`;
	return `Give a mapping to IDs of this user namespace, which /proc/self/uid_map and gid_map list, such as --map ${text}.`;
}

/** The number of IDs that a host maps. */
const ALL = 4294967295;

/** Reads the MAP of a mount. */
export function readMountMap(text: string): Mapping {
	if (wordOptions(text) === undefined) return readExtents(text);
	throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", `--map ${text} is for user namespaces only`, {
		hint: "Give the extents of the mount, such as --map 0:2100000000:65536.",
	});
}

/** The sentence of a hint for which these commands have no option. */
const SKIP = /For a file with other (settings|lines), set \{ skipOtherLines: true \}\.$/;

/** Reads a mapping in any syntax in which it has one meaning. */
function readExtents(text: string): Mapping {
	try {
		return Mapping.parse(text, undefined, { names: findId });
	} catch (error) {
		if (!(error instanceof UsernsError)) throw error;
		const { code, message, mapping } = error;
		// These commands have neither --from nor --skip-other-lines.
		const hint = error.hint.startsWith("Name the syntax")
			? `Write the mapping as containerID:hostID:size; "userns map convert --from SYNTAX" converts it.`
			: error.hint.replace(SKIP, '"userns map convert --skip-other-lines" converts a file with other $1.');
		throw new UsernsError(code, message, { hint, mapping });
	}
}

/** The option --setgroups of a command that creates a namespace. */
export function setgroupsOption(description: string): Option {
	return new Option("--setgroups <word>", description).choices(["allow", "deny"]);
}

const OTHER_SYNTAXES = `After a prefix, a user or group name can stand in place of an ID. MAP can also
be in another syntax that "userns map --help" lists, if it has one meaning.`;

/** The help about MAP, below the options of a command that mounts. */
export const MOUNT_MAP_HELP: string = `
MAP is a list of extents [u:|g:|b:]containerID:hostID:size, separated by commas.
containerID is the first ID on disk, hostID the first ID visible through the
mount, and size the number of IDs. The prefix u: selects user IDs, g: group IDs,
and b: or no prefix both.
${OTHER_SYNTAXES}`;

/** The help about MAP, below the options of a command that creates a namespace. */
const EXTENTS_HELP: string = `
MAP is a list of extents [u:|g:|b:]containerID:hostID:size, separated by commas.
containerID is the first ID inside the namespace, hostID the first ID outside,
and size the number of IDs. The prefix u: selects user IDs, g: group IDs, and b:
or no prefix both.
${OTHER_SYNTAXES}`;

/** The help about MAP, below the options of a command that creates a namespace. */
export const NAMESPACE_MAP_HELP: string = `${EXTENTS_HELP}

MAP can also be a word. "auto" maps root inside to the caller, and the IDs above
0 to the caller's subordinate IDs (/etc/subuid, /etc/subgid). "keep-id" maps the
caller's own ID to itself, and root inside to the first subordinate ID.
"keep-id:uid=N,gid=N,size=N" gives the caller other IDs inside, and maps at most
so many IDs; each part can be left out. --user names another user.
If root gives "auto" without --user, root inside is the first of root's
subordinate IDs; in a user namespace, every ID of it is mapped to itself.`;
