import type { SpawnOptions } from "node:child_process";
import { invalidArgument, show, type UsernsError } from "../errors.ts";
import { CLONE_NEW } from "../native/addon.ts";
import { copyOptions, ownCopy, ownMap } from "../options.ts";

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
	 * before, for each failure that is possible then, because no JavaScript runs afterwards. The texts of all of them, at most 60, have
	 * at most 131,071 bytes together.
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
