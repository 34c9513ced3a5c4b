import type {
	CreateOptions,
	EnterOptions,
	ExplainOptions,
	ListOptions,
	MappingContext,
	MountIdmappedOptions,
	MountsOptions,
	OverlayOptions,
	RootlessOptions,
	UnmountOptions,
} from "../index.ts";

/*
 * The messages and hints of the library name its options as `{ setgroups: "allow" }` and its functions as `mounts()`.
 * The command has its own options and commands for them, `--setgroups allow` and `userns mounts`. This file
 * translates the one form into the other.
 */

type LibraryOption =
	| keyof MountIdmappedOptions
	| keyof CreateOptions
	| keyof EnterOptions
	| keyof UnmountOptions
	| keyof MountsOptions
	| keyof ListOptions
	| keyof OverlayOptions
	| keyof ExplainOptions
	| keyof MappingContext
	| keyof RootlessOptions;

/** What the command has for an option: a flag, a text for true and one for false, or nothing. */
type CommandOption = string | { readonly true: string; readonly false: string } | undefined;

/** Complete by its type: a new option of the library does not compile without an entry here. */
const OPTIONS: Readonly<Record<LibraryOption, CommandOption>> = {
	// mount, umount
	source: undefined,
	from: "--from",
	target: undefined,
	mapping: "--map",
	userns: "--userns",
	owner: "--owner",
	others: "--others",
	handles: undefined,
	nested: "--nested",
	unmap: "--unmap",
	recursive: "--recursive",
	recursiveIdmap: { true: "--recursive", false: "--map-root-only" },
	skipUnsupported: "--skip-unsupported",
	into: "--into",
	targetRoot: "--target-root",
	resolve: "--resolve",
	replace: "--replace",
	readonly: "--read-only",
	nosuid: "--nosuid",
	nodev: "--nodev",
	noexec: "--noexec",
	nosymfollow: "--nosymfollow",
	nodiratime: "--nodiratime",
	atime: "--atime",
	propagation: "--propagation",
	// overlay
	lower: "--lower",
	upper: "--upper",
	work: "--work",
	mapUpper: "--map-upper",
	keepUpper: "--keep-upper",
	// mounts
	idmapped: { true: "no --all", false: "--all" },
	pid: "--pid",
	// explain
	in: "--in",
	as: "--as",
	chownTo: "--chown-to",
	// create, exec
	setgroups: "--setgroups",
	method: undefined,
	uid: "--uid",
	gid: "--gid",
	groups: "--groups",
	unshare: "--unshare",
	join: "--join",
	noNewPrivs: "--no-new-privs",
	keepId: { true: "--map keep-id", false: "--map auto" },
	size: undefined,
	// map
	parent: "--parent",
	rootless: "--rootless",
	container: "--container",
	user: "--user",
	names: undefined,
	skipOtherLines: "--skip-other-lines",
};

const COMMANDS: Readonly<Record<string, string>> = {
	mountIdmapped: "userns mount",
	overlay: "userns overlay",
	unmount: "userns umount",
	unmountAsync: "userns umount",
	mounts: "userns mounts",
	mountsAsync: "userns mounts",
	supports: "userns supports",
	doctor: "userns doctor",
	explain: "userns explain",
	pin: "userns create",
	pinAsync: "userns create",
	"UserNamespace.create": "userns create",
	"UserNamespace.open": "userns show",
	"UserNamespace.openAsync": "userns show",
	"namespace.spawn": "userns exec",
	"namespace.exec": "userns exec",
	"UserNamespace.spawn": "userns exec",
	"UserNamespace.exec": "userns exec",
	"Mapping.rootless": "--map auto",
	list: "userns ls",
};

/**
 * Options that are English words too. They are translated in a message that begins with its function's name, in a list
 * with other options, and after "with": "targetRoot and into cannot be used together", "with into, the target is".
 */
const PLAIN_NAMES = "into|from(?= must be )|resolve|replace|recursive|unmap|nested|propagation|atime";

const FUNCTION = Object.keys(COMMANDS)
	.sort((a, b) => b.length - a.length)
	.join("|")
	.replaceAll(".", "\\.");
const QUOTED = '"(?:[^"\\\\]|\\\\.)*"';
const BRACES = "\\{ ?[a-z]\\w*: (?:[^{}]|\\{[^{}]*\\})*\\}";
const SCANNED = new RegExp(
	[
		`(?<call>(?<![\\w.])(?:${FUNCTION})\\((?:${BRACES}|[^(){}])*\\))`,
		`(?<braces>${BRACES})`,
		// A quoted operand, such as a path, is not translated, whatever it contains.
		QUOTED,
		"(?<=\\b[Ll]eave )(?<left>[a-z]\\w*)(?= out\\b)",
		"(?<camel>(?<![\\w./-])(?:recursiveIdmap|skipUnsupported|targetRoot|keepId|mapUpper|keepUpper|chownTo)(?![\\w/-]))",
		`(?<=\\b(?:with|without|for|and|or) |, )(?<listed>${PLAIN_NAMES})(?=[,:;)]| and | or | \\(| cannot| needs)`,
		`(?<plain>(?<![\\w./-])(?:${PLAIN_NAMES})(?![\\w/-]))`,
	].join("|"),
	"g",
);
const PREFIX = new RegExp(`^(?:${FUNCTION}): (?:options?: )?`);

/** A message or hint of the library, in the words of the command. */
export function commandWords(text: string): string {
	const prefix = PREFIX.exec(text)?.[0] ?? "";
	const words = text.slice(prefix.length).replace(/^Name the syntax\b/, "Name the syntax with --from");
	return words.replaceAll(SCANNED, (match, ...rest) => {
		const { call, braces, left, camel, listed, plain } = rest.at(-1) as Record<string, string | undefined>;
		if (call !== undefined) return commandOf(call);
		if (braces !== undefined) return flagsOf(braces);
		if (left !== undefined) return flagName(left, "false");
		const name = camel ?? listed ?? (prefix === "" ? undefined : plain);
		return name === undefined ? match : flagName(name, "true");
	});
}

/** `unmount(path, { recursive: true })` as `"userns umount --recursive PATH"`, in quotation marks. */
function commandOf(call: string): string {
	const at = call.indexOf("(");
	const name = call.slice(0, at);
	const given = call.slice(at + 1, -1);
	const flags = [...given.matchAll(new RegExp(BRACES, "g"))].map(([braces]) => flagsOf(braces));
	if (name === "Mapping.rootless") return flags[0] ?? "--map auto";
	const words = given
		.replaceAll(new RegExp(BRACES, "g"), "")
		.split(",")
		.map((word) => word.trim())
		.filter((word) => word !== "" && word !== "namespace")
		.map((word) => (/^[a-z]+$/.test(word) ? word.toUpperCase() : word));
	const path = name === "pin" || name === "pinAsync" ? ["--at", ...words] : words;
	return `"${[COMMANDS[name], ...flags, ...(words.length === 0 ? [] : path)].join(" ")}"`;
}

/** `{ nested: "replace", recursive: true }` as `--nested replace --recursive`, and an extent as the JSON of the oci syntax. */
function flagsOf(braces: string): string {
	if (/^\{ ?containerID: /.test(braces)) return braces.replaceAll(/(\w+): /g, '"$1": ');
	const parts = braces
		.slice(1, -1)
		.trim()
		.matchAll(/([a-z]\w*): (\{[^{}]*\}|\[[^\]]*\]|"(?:[^"\\]|\\.)*"|[^,]+)/g);
	return [...parts].map(([, name = "", value = ""]) => flag(name, value)).join(" ");
}

function flag(name: string, value: string): string {
	const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name as LibraryOption] : undefined;
	if (option === undefined) return `${name} ${value}`;
	if (typeof option === "object") return value === "false" ? option.false : option.true;
	if (value === "true") return option;
	if (value === "false") return `no ${option}`;
	return `${option} ${argument(value)}`;
}

/** The command's option for a bare name. `value` selects the text for an option that has one for true and one for false. */
function flagName(name: string, value: "true" | "false"): string {
	const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name as LibraryOption] : undefined;
	return typeof option === "object" ? option[value] : (option ?? name);
}

/** A value of a brace form as an argument: the values of an array with commas, and of an object its only value. */
function argument(value: string): string {
	const text = value
		.replace(/^\{ ?\w+: | ?\}$/g, "")
		.replace(/^\[|\]$/g, "")
		.replaceAll(/(?<=^|, )"((?:[^"\\]|\\.)*)"(?=,|$)/g, "$1")
		.replaceAll(", ", ",");
	return text === "" || /[\s;"']/.test(text)
		? `'${text}'`
		: /^[a-z]+$/.test(value)
			? text.toUpperCase()
			: text;
}
