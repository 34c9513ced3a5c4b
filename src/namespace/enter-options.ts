import { invalidArgument, show, UsernsError } from "../errors.ts";
import { type Extents, type IdKind, showRange } from "../mapping/extent.ts";
import { copyOptions, ownCopy, ownMap } from "../options.ts";
import type { NamespaceMaps } from "./read-maps.ts";

/** The kinds of namespaces that can be made beside a user namespace, by their flags for unshare(2). */
const FLAGS = {
	mount: 0x00020000,
	pid: 0x20000000,
	net: 0x40000000,
	ipc: 0x08000000,
	uts: 0x04000000,
	cgroup: 0x02000000,
	time: 0x00000080,
} as const;

export type NamespaceKind = keyof typeof FLAGS;

/** As whom, and in which other new namespaces, a program runs in a user namespace. */
export interface EnterOptions {
	/** The uid inside. Left out: 0 where that is mapped, otherwise the caller's own. */
	uid?: number | undefined;
	/** The gid inside. Left out: 0 where that is mapped, otherwise the caller's own. */
	gid?: number | undefined;
	/**
	 * The supplementary groups inside. Left out: none, where the namespace allows setgroups(2). Where it denies it they
	 * cannot be given; who has CAP_SETGID outside loses his own on the way in, and others keep theirs.
	 */
	groups?: readonly number[] | undefined;
	/**
	 * New namespaces of these kinds beside the user namespace. With `pid`, a process 1 of ours reaps what is left to it,
	 * and all that lives in the namespace ends with the program; /proc stays that of the parent until one is mounted
	 * (`mount -t proc proc /proc`, which takes `mount` too).
	 */
	unshare?: readonly NamespaceKind[] | undefined;
}

const ENTER_OPTIONS = ["uid", "gid", "groups", "unshare", "env", "argv0"];
export const EXEC_OPTIONS: readonly string[] = ENTER_OPTIONS;
export const SPAWN_OPTIONS: readonly string[] = [
	...ENTER_OPTIONS,
	"cwd",
	"stdio",
	"detached",
	"keepSession",
	"shell",
	"signal",
	"timeout",
	"killSignal",
	"serialization",
	"windowsHide",
	"windowsVerbatimArguments",
];

/** NGROUPS_MAX in include/uapi/linux/limits.h. */
const MOST_GROUPS = 65536;

/** What a program is started in: the open namespace, what it maps, and whether this process lives in it. */
export interface EnterTarget {
	readonly fd: number;
	readonly maps: NamespaceMaps;
	readonly own: boolean;
}

/** EnterOptions, checked and as numbers. */
export interface EnterRequest {
	uid: number;
	gid: number;
	/** Undefined: they stay as they are. */
	groups: readonly number[] | undefined;
	/** CLONE_NEW… flags. */
	unshare: number;
}

/** Checks and copies the arguments of the call; `inside` interprets them. */
export function checkArguments<T extends { env?: NodeJS.ProcessEnv | undefined }>(
	what: string,
	command: unknown,
	args: unknown,
	options: unknown,
	known: readonly string[],
): { args: string[]; options: T } {
	const copy = copyOptions<T>(what, options, known);
	if (typeof command !== "string" || command === "" || command.includes("\0")) {
		throw invalidArgument(`${what}: the command must be a text without NUL, not ${show(command)}`);
	}
	if (!Array.isArray(args))
		throw invalidArgument(`${what}: the arguments must be an array, not ${show(args)}`);
	const list = ownMap(args, (arg, index) => {
		if (typeof arg === "string" && !arg.includes("\0")) return arg;
		throw invalidArgument(`${what}: argument ${index + 1} must be a text without NUL, not ${show(arg)}`);
	});
	// Copies own properties only, because child_process also reads the variables of the prototype.
	if (typeof copy.env === "object" && copy.env !== null) copy.env = ownCopy(copy.env);
	for (const [name, { is, words }] of Object.entries(FORMS)) {
		const value = (copy as Record<string, unknown>)[name];
		// As child_process has it, null counts as left out.
		if (value === undefined || value === null || is(value)) continue;
		throw invalidArgument(`${what}: ${name} must be ${words}, not ${show(value)}`);
	}
	return { args: list, options: copy };
}

const isText = (value: unknown) => typeof value === "string" && !value.includes("\0");

/** What the options must be that are looked at before child_process sees them, or that it never sees. */
const FORMS: Record<string, { is: (value: unknown) => boolean; words: string }> = {
	argv0: { is: isText, words: "a text without NUL" },
	cwd: {
		is: (value) => isText(value) || (value instanceof URL && value.protocol === "file:"),
		words: "a path or a file: URL",
	},
	keepSession: { is: (value) => typeof value === "boolean", words: "a boolean" },
	shell: { is: (value) => typeof value === "boolean" || isText(value), words: "a boolean or a path" },
	env: {
		is: (value) =>
			typeof value === "object" &&
			!Object.entries(value as object)
				.flat()
				.join("")
				.includes("\0"),
		words: "an object whose texts have no NUL in them",
	},
};

/** As whom the program runs: every ID must be mapped, so that no process ends up as nobody. */
export function enterRequest(what: string, options: EnterOptions, target: EnterTarget): EnterRequest {
	const unshare = flagsOf(what, options.unshare);
	const uid = pick(what, "uid", options.uid, target);
	const gid = pick(what, "gid", options.gid, target);
	return { uid, gid, groups: pickGroups(what, options.groups, target), unshare };
}

function flagsOf(what: string, kinds: unknown): number {
	if (kinds === undefined) return 0;
	if (!Array.isArray(kinds)) {
		throw invalidArgument(`${what}: unshare must be an array of kinds, not ${show(kinds)}`);
	}
	let flags = 0;
	ownMap(kinds, (kind) => {
		if (typeof kind !== "string" || !Object.hasOwn(FLAGS, kind)) {
			throw invalidArgument(
				`${what}: there is no kind of namespace ${show(kind)} to unshare`,
				`The kinds are: ${Object.keys(FLAGS).join(", ")}.`,
			);
		}
		flags |= FLAGS[kind as NamespaceKind];
	});
	return flags;
}

function checkId(what: string, name: string, id: unknown): number {
	if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > 0xfffffffe) {
		throw invalidArgument(`${what}: ${name} must be a whole number from 0 to 4294967294, not ${show(id)}`);
	}
	return id;
}

function pick(what: string, kind: IdKind, given: unknown, { maps: { mapping }, own }: EnterTarget): number {
	const mine = (kind === "uid" ? process.geteuid?.() : process.getegid?.()) ?? 0;
	const extents = kind === "uid" ? mapping.uidMappings : mapping.gidMappings;
	const isMapped = (id: number) =>
		(kind === "uid" ? mapping.uidToHost(id) : mapping.gidToHost(id)) !== undefined;
	if (given !== undefined) {
		const id = checkId(what, kind, given);
		if (!isMapped(id))
			throw unmapped(`${what}: the ${kind} ${id} is not mapped in the user namespace`, extents, kind);
		return id;
	}
	if (own) return mine;
	if (isMapped(0)) return 0;
	const same = kind === "uid" ? mapping.uidToContainer(mine) : mapping.gidToContainer(mine);
	if (same !== undefined) return same;
	throw unmapped(
		`${what}: neither the ${kind} 0 nor the caller's own is mapped in the user namespace`,
		extents,
		kind,
	);
}

function unmapped(message: string, extents: Extents, kind: IdKind): UsernsError {
	const has = extents.slice(0, 8).map(({ containerID, size }) => showRange(containerID, size));
	const list = extents.length === 0 ? "none" : `${has.join(", ")}${extents.length > 8 ? ", …" : ""}`;
	return new UsernsError("ERR_USERNS_UNMAPPED_ID", message, { hint: `The ${kind}s inside are: ${list}.` });
}

function pickGroups(
	what: string,
	groups: unknown,
	{ maps, own }: EnterTarget,
): readonly number[] | undefined {
	const { mapping, setgroups } = maps;
	if (groups === undefined) return setgroups === "allow" && !own ? [] : undefined;
	if (!Array.isArray(groups) || groups.length > MOST_GROUPS) {
		throw invalidArgument(
			`${what}: groups must be an array of at most ${MOST_GROUPS} gids, not ${show(groups)}`,
		);
	}
	const list = ownMap(groups, (gid, index) => checkId(what, `groups[${index}]`, gid));
	if (setgroups === "deny") {
		throw invalidArgument(
			`${what}: groups cannot be set, for the user namespace denies setgroups`,
			'Create the namespace with setgroups: "allow", or leave groups out.',
		);
	}
	for (const gid of list) {
		if (mapping.gidToHost(gid) === undefined) {
			throw unmapped(
				`${what}: the group ${gid} is not mapped in the user namespace`,
				mapping.gidMappings,
				"gid",
			);
		}
	}
	return list;
}
