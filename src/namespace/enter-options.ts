import type { SpawnOptions } from "node:child_process";
import { existsSync } from "node:fs";
import { invalidArgument, show, UsernsError } from "../errors.ts";
import { type Extents, type IdKind, showRanges } from "../mapping/extent.ts";
import { CLONE_NEW } from "../native/addon.ts";
import { copyOptions, ownCopy, ownMap } from "../options.ts";
import { isPid } from "./open.ts";
import type { NamespaceMaps } from "./read-maps.ts";

/** A kind of namespace, as in namespaces(7). */
export type NamespaceKind = "mount" | "pid" | "net" | "ipc" | "uts" | "cgroup" | "time";

/** The kinds of namespaces that a program can be in besides its user namespace. */
export const KINDS: readonly NamespaceKind[] = (Object.keys(CLONE_NEW) as (keyof typeof CLONE_NEW)[]).filter(
	(kind) => kind !== "user",
);

/** The other namespaces of a process in the user namespace. */
export interface JoinedNamespaces {
	/** The process, in the caller's pid namespace. It must be in the user namespace. */
	pid: number;
	/** `"all"`: every kind in which the process is not in the caller's own namespace. */
	kinds: readonly NamespaceKind[] | "all";
}

/** The IDs of a program in a user namespace, and its other namespaces. */
export interface EnterOptions {
	/**
	 * The uid in the namespace. Default: the caller's own if the caller is not root and the namespace maps both of its IDs, as with
	 * `keepId` of `Mapping.rootless`; otherwise 0 if it is mapped; otherwise the caller's own.
	 */
	uid?: number | undefined;
	/** The gid in the namespace. Default: the caller's own if the uid is the caller's own, otherwise as for `uid`. */
	gid?: number | undefined;
	/**
	 * The supplementary groups in the namespace (default: none). If the namespace denies setgroups(2), they cannot be set: the
	 * program has no groups if the caller has CAP_SETGID outside, and otherwise the groups of the caller. `"keep"`: those of the
	 * caller, which give access to the files of these groups even if the namespace does not map them.
	 */
	groups?: readonly number[] | "keep" | undefined;
	/**
	 * Joins other namespaces of a process in the user namespace, as nsenter(1) does. With `"mount"`, the program and its interpreter
	 * are those in the joined mount namespace: the PATH of `env` is searched there, and `cwd` is a directory there (default: `"/"`).
	 * With `"pid"`, the started process represents the program outside, as with `unshare`. The program is not in the cgroups
	 * of that process, and has no seccomp filter and no limit on capabilities that the process may have.
	 */
	join?: JoinedNamespaces;
	/** Sets no_new_privs: set-user-ID programs and file capabilities give no privilege. See PR_SET_NO_NEW_PRIVS(2const). */
	noNewPrivs?: boolean | undefined;
	/**
	 * The kinds of other namespaces to create. With `"pid"`, process 1 of the pid namespace is a program of this package, which
	 * reaps orphans and ends the namespace with the program. /proc shows the parent's processes until a procfs is mounted
	 * there (`mount -t proc proc /proc`, which also needs `"mount"`). With `"net"`, the loopback device is up.
	 */
	unshare?: readonly NamespaceKind[] | undefined;
}

/** Options of `UserNamespace.spawn`: those of `child_process.spawn`, but with IDs in the namespace, and EnterOptions. */
export interface NamespaceSpawnOptions extends Omit<SpawnOptions, "uid" | "gid">, EnterOptions {
	/**
	 * Leaves the program in the session of this process, where it can read from the terminal and write to it. By default the
	 * program is in a new session, unless an entry of `stdio` is that terminal.
	 */
	keepSession?: boolean | undefined;
}

/** Options of `UserNamespace.exec`. */
export interface NamespaceExecOptions extends EnterOptions {
	/** The environment of the program (default: that of this process). */
	env?: NodeJS.ProcessEnv | undefined;
	/** The program's argv[0] (default: the command). */
	argv0?: string | undefined;
	/** The working directory of the program, which the IDs in the namespace must be able to enter (default: that of this process). */
	cwd?: string | undefined;
	/** The number of descriptors from 3 on that the program inherits; all of them must be open (default: 0). */
	preserveFds?: number | undefined;
	/**
	 * What is printed for a failure after this process was replaced (default: the message and the hint, on standard error). Called
	 * before, for each failure that is possible then, because no JavaScript runs afterwards.
	 */
	failureText?: ((error: UsernsError) => FailureText) | undefined;
}

/** The text of a failure; a part that is left out is not printed. */
export interface FailureText {
	stdout?: string | undefined;
	stderr?: string | undefined;
}

/** The names, complete by their types. */
const ENTER = {
	uid: true,
	gid: true,
	groups: true,
	unshare: true,
	join: true,
	noNewPrivs: true,
} satisfies Record<keyof EnterOptions, true>;
const EXEC = {
	...ENTER,
	env: true,
	argv0: true,
	cwd: true,
	preserveFds: true,
	failureText: true,
} satisfies Record<keyof NamespaceExecOptions, true>;
const SPAWN = {
	...ENTER,
	env: true,
	argv0: true,
	cwd: true,
	stdio: true,
	detached: true,
	keepSession: true,
	shell: true,
	signal: true,
	timeout: true,
	killSignal: true,
	serialization: true,
	windowsHide: true,
	windowsVerbatimArguments: true,
} satisfies Record<keyof NamespaceSpawnOptions, true>;
export const EXEC_OPTIONS: readonly string[] = Object.keys(EXEC);
export const SPAWN_OPTIONS: readonly string[] = Object.keys(SPAWN);

/** NGROUPS_MAX in include/uapi/linux/limits.h. */
const MOST_GROUPS = 65536;

/** The user namespace of a program, which is not that of this process: its descriptor and its maps. */
export interface EnterTarget {
	readonly fd: number;
	readonly maps: NamespaceMaps;
}

/** The checked EnterOptions, as userns-enter takes them. */
export interface EnterRequest {
	uid: number;
	gid: number;
	/** Undefined: setgroups(2) is not called in the namespace. */
	groups: readonly number[] | "keep" | undefined;
	/** CLONE_NEW… flags. */
	unshare: number;
	/** `all`: a kind is left out if the process is in the caller's own namespace of that kind. */
	join: { pid: number; kinds: readonly NamespaceKind[]; all: boolean } | undefined;
	noNewPrivs: boolean;
}

/** Copies the arguments and checks their types. enterRequest() checks the EnterOptions. */
export function checkArguments<T extends { env?: NodeJS.ProcessEnv | undefined }>(
	what: string,
	command: unknown,
	args: unknown,
	options: unknown,
	known: readonly string[],
): { args: string[]; options: T } {
	const copy = copyOptions<T>(what, options, known);
	if (typeof command !== "string" || command === "" || command.includes("\0")) {
		throw invalidArgument(`${what}: the command must be a string without NUL, not ${show(command)}`);
	}
	if (!Array.isArray(args))
		throw invalidArgument(`${what}: the arguments must be an array, not ${show(args)}`);
	const list = ownMap(args, (arg, index) => {
		if (typeof arg === "string" && !arg.includes("\0")) return arg;
		throw invalidArgument(`${what}: argument ${index + 1} must be a string without NUL, not ${show(arg)}`);
	});
	// Without a prototype, because child_process also passes on the variables of a prototype.
	if (typeof copy.env === "object" && copy.env !== null) copy.env = ownCopy(copy.env);
	for (const [name, { is, words }] of Object.entries(FORMS)) {
		const value = (copy as Record<string, unknown>)[name];
		// child_process takes null as an option that is not set.
		if (value === undefined || value === null || is(value)) continue;
		throw invalidArgument(`${what}: ${name} must be ${words}, not ${show(value)}`);
	}
	return { args: list, options: copy };
}

/** The largest RLIMIT_NOFILE is sysctl_nr_open_max in fs/file.c, 2^31 / 8 on 64-bit machines. */
const MOST_PRESERVED = 2 ** 28;

const isBoolean = (value: unknown) => typeof value === "boolean";
const isText = (value: unknown) => typeof value === "string" && !value.includes("\0");

/** The types of the options that this package reads. child_process checks the others. */
const FORMS: Record<string, { is: (value: unknown) => boolean; words: string }> = {
	argv0: { is: isText, words: "a string without NUL" },
	cwd: {
		is: (value) => isText(value) || (value instanceof URL && value.protocol === "file:"),
		words: "a path or a file: URL",
	},
	failureText: { is: (value) => typeof value === "function", words: "a function" },
	keepSession: { is: isBoolean, words: "a boolean" },
	noNewPrivs: { is: isBoolean, words: "a boolean" },
	preserveFds: {
		is: (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MOST_PRESERVED,
		words: `a whole number from 0 to ${MOST_PRESERVED}`,
	},
	shell: { is: (value) => typeof value === "boolean" || isText(value), words: "a boolean or a path" },
	env: {
		is: (value) =>
			typeof value === "object" &&
			!Object.entries(value as object)
				.flat()
				.join("")
				.includes("\0"),
		words: "an object of strings without NUL",
	},
};

function fileOf(kind: NamespaceKind): string {
	return `/proc/self/ns/${kind === "mount" ? "mnt" : kind}`;
}

/** Whether the kernel was built without that kind. The file of user namespaces shows that /proc can be read. */
function isMissing(kind: NamespaceKind): boolean {
	return !existsSync(fileOf(kind)) && existsSync("/proc/self/ns/user");
}

/**
 * Throws for a kind of namespace that the kernel was built without: unshare(2) would be a bare EINVAL, and the program of `exec`
 * replaces this process before that call.
 */
function refuseMissing(what: string, kind: NamespaceKind): void {
	if (!isMissing(kind)) return;
	throw new UsernsError(
		"ERR_USERNS_UNSUPPORTED_KERNEL",
		`${what}: this kernel has no ${kind} namespaces: there is no ${fileOf(kind)}`,
		{
			hint: `Use a kernel that was built with ${kind} namespaces, or leave out that kind.`,
		},
	);
}

/** Checks the EnterOptions. Each ID must be mapped, because a process with an unmapped ID would run as the overflow user. */
export function enterRequest(what: string, options: EnterOptions, target: EnterTarget): EnterRequest {
	const unshare = flagsOf(what, "unshare", options.unshare);
	const join = checkJoin(what, options.join, unshare);
	const both = join?.kinds.find((kind) => (unshare & CLONE_NEW[kind]) !== 0);
	if (both !== undefined) {
		throw invalidArgument(
			`${what}: join and unshare both name the kind ${both}`,
			"Leave the kind out of one of them: the program is in one namespace of each kind.",
		);
	}
	const own = ownIds(target);
	const uid = pickId(what, "uid", options.uid ?? own?.uid, target);
	const gid = pickId(what, "gid", options.gid ?? (uid === own?.uid ? own.gid : undefined), target);
	const groups = pickGroups(what, options.groups, target);
	return { uid, gid, groups, unshare, join, noNewPrivs: options.noNewPrivs ?? false };
}

function checkKinds(what: string, option: string, kinds: unknown): NamespaceKind[] {
	if (!Array.isArray(kinds)) {
		throw invalidArgument(`${what}: ${option} must be an array of kinds, not ${show(kinds)}`);
	}
	return ownMap(kinds, (kind) => {
		if (!KINDS.includes(kind as NamespaceKind)) {
			throw invalidArgument(
				`${what}: unknown kind of namespace ${show(kind)} in ${option}`,
				`The kinds are: ${KINDS.join(", ")}.`,
			);
		}
		refuseMissing(what, kind as NamespaceKind);
		return kind as NamespaceKind;
	});
}

function flagsOf(what: string, option: string, kinds: unknown): number {
	if (kinds === undefined) return 0;
	return checkKinds(what, option, kinds).reduce((flags, kind) => flags | CLONE_NEW[kind], 0);
}

function checkJoin(what: string, join: unknown, unshare: number): EnterRequest["join"] {
	if (join === undefined) return undefined;
	const { pid, kinds } = copyOptions<Partial<JoinedNamespaces>>(`${what}: join`, join, ["pid", "kinds"]);
	if (!isPid(pid)) {
		throw invalidArgument(
			`${what}: the pid of join must be a whole number from 1 to 2147483647, not ${show(pid)}`,
		);
	}
	if (kinds !== "all") return { pid, kinds: checkKinds(what, "join", kinds), all: false };
	return {
		pid,
		kinds: KINDS.filter((kind) => !isMissing(kind) && (unshare & CLONE_NEW[kind]) === 0),
		all: true,
	};
}

function checkId(what: string, name: string, id: unknown): number {
	if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > 0xfffffffe) {
		throw invalidArgument(`${what}: ${name} must be a whole number from 0 to 4294967294, not ${show(id)}`);
	}
	return id;
}

/**
 * The IDs of an ordinary caller in the namespace, with which files belong to the caller outside; undefined if one is not mapped. Root of
 * a host has none, because a program with that ID would be root of the host.
 */
function ownIds({ maps: { mapping } }: EnterTarget): { uid: number; gid: number } | undefined {
	const caller = process.geteuid?.() ?? 0;
	const uid = mapping.uidToContainer(caller);
	const gid = mapping.gidToContainer(process.getegid?.() ?? 0);
	return caller === 0 || uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function pickId(what: string, kind: IdKind, given: unknown, { maps: { mapping } }: EnterTarget): number {
	const callers = (kind === "uid" ? process.geteuid?.() : process.getegid?.()) ?? 0;
	const extents = kind === "uid" ? mapping.uidMappings : mapping.gidMappings;
	const isMapped = (id: number) =>
		(kind === "uid" ? mapping.uidToHost(id) : mapping.gidToHost(id)) !== undefined;
	if (given !== undefined) {
		const id = checkId(what, kind, given);
		if (!isMapped(id))
			throw unmapped(`${what}: the ${kind} ${id} is not mapped in the user namespace`, extents, kind);
		return id;
	}
	if (isMapped(0)) return 0;
	const same = kind === "uid" ? mapping.uidToContainer(callers) : mapping.gidToContainer(callers);
	if (same !== undefined) return same;
	throw unmapped(
		`${what}: neither ${kind} 0 nor the caller's own ${kind} is mapped in the user namespace`,
		extents,
		kind,
	);
}

function unmapped(message: string, extents: Extents, kind: IdKind): UsernsError {
	return new UsernsError("ERR_USERNS_UNMAPPED_ID", message, {
		hint:
			extents.length === 0
				? `Write the ${kind}_map of the user namespace first, or use another one: it is empty.`
				: `Choose a ${kind} that the user namespace maps: ${showRanges(extents, "containerID")}.`,
	});
}

function pickGroups(what: string, groups: unknown, { maps }: EnterTarget): EnterRequest["groups"] {
	const { mapping, setgroups } = maps;
	if (groups === undefined) return setgroups === "allow" ? [] : undefined;
	if (groups === "keep") return groups;
	if (!Array.isArray(groups) || groups.length > MOST_GROUPS) {
		throw invalidArgument(
			`${what}: groups must be "keep" or an array of at most ${MOST_GROUPS} gids, not ${show(groups)}`,
		);
	}
	const list = ownMap(groups, (gid, index) => checkId(what, `groups[${index}]`, gid));
	if (setgroups === "deny") {
		throw invalidArgument(
			`${what}: groups cannot be set, because the user namespace denies setgroups`,
			'Create the namespace with { setgroups: "allow" }, or leave groups out.',
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
