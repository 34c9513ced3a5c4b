import { getSystemErrorMap } from "node:util";

/** The code of an error. Codes are part of the public contract, and their meaning never changes. */
export type UsernsErrorCode =
	| "ERR_USERNS_INVALID_ARGUMENT"
	| "ERR_USERNS_INVALID_MAPPING"
	| "ERR_USERNS_UNMAPPED_ID"
	| "ERR_USERNS_CLOSED"
	| "ERR_USERNS_CREATE"
	| "ERR_USERNS_RESTRICTED"
	| "ERR_USERNS_HELPER_MISSING"
	| "ERR_USERNS_HELPER_FAILED"
	| "ERR_USERNS_UNKNOWN_USER"
	| "ERR_USERNS_NO_SUBIDS"
	| "ERR_USERNS_NOT_DELEGATED"
	| "ERR_USERNS_MAPPING_DIFFERS"
	| "ERR_USERNS_LIMIT"
	| "ERR_USERNS_OPEN"
	| "ERR_USERNS_NOT_A_USER_NAMESPACE"
	| "ERR_USERNS_READ_MAPPING"
	| "ERR_USERNS_DESCRIPTOR"
	| "ERR_USERNS_MOUNT"
	| "ERR_USERNS_ATTACHED"
	| "ERR_USERNS_READ_MOUNTS"
	| "ERR_USERNS_MOUNT_NAMESPACE"
	| "ERR_USERNS_UNMOUNT"
	| "ERR_USERNS_PIN"
	| "ERR_USERNS_EXPLAIN"
	| "ERR_USERNS_NO_PROGRAM"
	| "ERR_USERNS_SPAWN"
	| "ERR_USERNS_UNSUPPORTED_PLATFORM"
	| "ERR_USERNS_UNSUPPORTED_KERNEL"
	| "ERR_USERNS_NATIVE_MISSING"
	| "ERR_USERNS_NODE_PERMISSION";

interface CodeEntry {
	/** What the code means, in the words of docs/errors.md. */
	explanation: string;
	/** One thing to do, for an error that is raised without its own hint. */
	hint: string;
}

/** Every code with its texts, which may change. test/docs/docs.test.ts holds docs/errors.md against this table. */
const codes: Readonly<Record<UsernsErrorCode, CodeEntry>> = {
	ERR_USERNS_INVALID_ARGUMENT: {
		explanation: "an argument or option has the wrong type, name or value",
		hint: "Correct the argument that the message names. Nothing was changed.",
	},
	ERR_USERNS_INVALID_MAPPING: {
		explanation: "the mapping breaks a rule of the kernel's uid_map and gid_map files",
		hint: "Give every extent a containerID, a hostID and a size of at least 1, all whole numbers; the last ID is 4294967294.",
	},
	ERR_USERNS_UNMAPPED_ID: {
		explanation:
			"an ID is not mapped in the user namespace of the caller, or in the one that a program enters",
		hint: "Use only IDs that /proc/self/uid_map and /proc/self/gid_map list.",
	},
	ERR_USERNS_CLOSED: {
		explanation: "the descriptor was closed before this use",
		hint: "Call dup() before close() if two parts of the program use the descriptor.",
	},
	ERR_USERNS_CREATE: {
		explanation: "the kernel did not create the user namespace",
		hint: "The step and the errno name the cause: see ERR_USERNS_CREATE in docs/errors.md.",
	},
	ERR_USERNS_RESTRICTED: {
		explanation: "a sysctl of this machine prevents unprivileged users from creating user namespaces",
		hint: "Run the program as root, or let root change the sysctl.",
	},
	ERR_USERNS_HELPER_MISSING: {
		explanation: "newuidmap or newgidmap is needed but not installed",
		hint: "Install newuidmap and newgidmap (Debian and Ubuntu: apt-get install uidmap).",
	},
	ERR_USERNS_HELPER_FAILED: {
		explanation: "newuidmap or newgidmap did not write the map",
		hint: "Check that newuidmap and newgidmap are set-user-ID root, and that /etc/subuid and /etc/subgid list the user.",
	},
	ERR_USERNS_UNKNOWN_USER: {
		explanation: "the user database of this machine has no entry for the user",
		hint: "Name a user that getent passwd lists.",
	},
	ERR_USERNS_NO_SUBIDS: {
		explanation: "the user has no subordinate IDs",
		hint: "Let root add a line for the user to /etc/subuid and to /etc/subgid.",
	},
	ERR_USERNS_NOT_DELEGATED: {
		explanation: "the mapping contains IDs that are neither the user's own nor subordinate IDs of the user",
		hint: "Use only the user's own IDs and the ranges that /etc/subuid and /etc/subgid assign to the user.",
	},
	ERR_USERNS_MAPPING_DIFFERS: {
		explanation: "the mapping of the user namespace differs from the requested one",
		hint: "Check that newuidmap and newgidmap in PATH are those of the package uidmap.",
	},
	ERR_USERNS_LIMIT: {
		explanation: "the limit on the number of user namespaces of a user, or on their depth, is reached",
		hint: "Close unused user namespaces, or let root raise /proc/sys/user/max_user_namespaces.",
	},
	ERR_USERNS_OPEN: {
		explanation: "the user namespace could not be opened",
		hint: "Check that the process or the path exists and that the caller may open it.",
	},
	ERR_USERNS_NOT_A_USER_NAMESPACE: {
		explanation: "the file or descriptor is not a user namespace",
		hint: "Name a file such as /proc/PID/ns/user, or a path at which a user namespace is pinned.",
	},
	ERR_USERNS_READ_MAPPING: {
		explanation: "the mapping of a user namespace could not be read",
		hint: "Open the user namespace by the pid of a process in it.",
	},
	ERR_USERNS_DESCRIPTOR: {
		explanation: "a descriptor could not be duplicated or queried",
		hint: "Close unused descriptors, or raise the limit (ulimit -n).",
	},
	ERR_USERNS_MOUNT: {
		explanation: "the kernel did not create or attach the mount",
		hint: "Check whether the source can be ID-mapped with supports(path).",
	},
	ERR_USERNS_ATTACHED: {
		explanation: "the mount is already attached, and attaching it again would move it",
		hint: "Unmount it and create another mount.",
	},
	ERR_USERNS_READ_MOUNTS: {
		explanation: "the mounts of a mount namespace, or the map of a mount, could not be read",
		hint: "Check that a procfs is mounted at /proc and that the process has not ended.",
	},
	ERR_USERNS_MOUNT_NAMESPACE: {
		explanation: "the mount namespace could not be opened, or is the caller's own",
		hint: "Name the pid of a container, or a file such as /proc/PID/ns/mnt.",
	},
	ERR_USERNS_UNMOUNT: {
		explanation: "the mount could not be unmounted",
		hint: "End the programs that use the mount, and call again.",
	},
	ERR_USERNS_PIN: {
		explanation: "the user namespace could not be pinned at a path",
		hint: "Call pin() as root, with a path that does not exist yet in a directory that exists.",
	},
	ERR_USERNS_EXPLAIN: {
		explanation: "a file could not be explained: its path or the process could not be opened",
		hint: "Check that the path and the process exist, and call explain() as root.",
	},
	ERR_USERNS_NO_PROGRAM: {
		explanation: "the program does not exist or may not be executed",
		hint: "Name a program that exists in PATH and that the caller may execute.",
	},
	ERR_USERNS_SPAWN: {
		explanation: "the program could not be started in the user namespace",
		hint: "The step and the errno name the cause: see ERR_USERNS_SPAWN in docs/errors.md.",
	},
	ERR_USERNS_UNSUPPORTED_PLATFORM: {
		explanation: "the function needs Linux",
		hint: "Run it on Linux. On other systems, only the conversion, algebra and check of mappings work.",
	},
	ERR_USERNS_UNSUPPORTED_KERNEL: {
		explanation: "the kernel lacks a system call or a kind of namespace that the function needs",
		hint: "Use a newer kernel: docs/kernel-features.md lists the versions.",
	},
	ERR_USERNS_NATIVE_MISSING: {
		explanation: "the native add-on is missing or cannot be loaded",
		hint: 'Install the package again, or run its command "userns build", which needs a C compiler.',
	},
	ERR_USERNS_NODE_PERMISSION: {
		explanation: "the permission model of Node.js does not allow what the function needs",
		hint: "Start Node.js with --allow-fs-read=* and --allow-child-process, or without --permission.",
	},
};

/** Every code with its meaning in a few words. */
export const explanations: Readonly<Record<UsernsErrorCode, string>> = Object.freeze(
	Object.fromEntries(Object.entries(codes).map(([code, { explanation }]) => [code, explanation])) as Record<
		UsernsErrorCode,
		string
	>,
);

/**
 * Escapes the characters of a text that a terminal interprets or that change how a line reads. Messages contain names
 * that other users chose, and messages reach terminals and logs.
 */
function printable(text: string): string {
	return text.replaceAll(
		/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
		(character) => `\\u{${(character.codePointAt(0) as number).toString(16)}}`,
	);
}

/** A longer mapping is not enumerable: util.inspect() would print thousands of characters after the message, which has its start. */
const LONGEST_SHOWN = 200;

/** A cause that was found on this machine, by reading or by a call without an effect. */
export interface FoundCause {
	/** The stable name of the cause, such as `"missing-capability"`. docs/causes.md lists them. */
	id: string;
	/** What was found and what follows from it. */
	message: string;
	/** What was found: the file and its value. */
	evidence: string;
	/** What follows from it. */
	consequence: string;
	/** What to do. */
	fix: string;
	/** A shell command for root that does it; left out if no command can. */
	command?: string;
}

/** One sentence for each cause: what to do, what was found, and what follows from it. Undefined if there is none. */
export function hintOfCauses(found: readonly FoundCause[] = []): string | undefined {
	return found.length === 0 ? undefined : found.map(({ fix, message }) => `${fix}: ${message}.`).join(" ");
}

/** The fields of an error besides its code and message. */
export interface UsernsErrorDetails {
	/** One sentence: one thing to do. Default: the hint made from the causes, or the hint of the code. */
	hint?: string | undefined;
	/** The kernel's error number, negative as in libuv: −1 for EPERM. */
	errno?: number | undefined;
	/** The system call that failed. */
	syscall?: string | undefined;
	/** The step of the operation that failed, in words. */
	step?: string | undefined;
	/** The mapping that was requested, in the `colon` text form. */
	mapping?: string | undefined;
	/** The error that led to this one. */
	cause?: unknown;
	/** The causes that were found. */
	causes?: readonly FoundCause[] | undefined;
}

/**
 * The error class of this package. `code` is stable, and `hint` names one thing to do. `errno`, `errnoCode`, `syscall`
 * and `step` are set if the kernel refused. A field that does not apply is undefined and not enumerable, so that
 * util.inspect() shows only fields with a value.
 */
export class UsernsError extends Error {
	override readonly name: string = "UsernsError";
	readonly code: UsernsErrorCode;
	readonly hint: string;
	// `declare` emits no field: the constructor defines these properties, enumerable only if they have a value.
	/** Negative, as in Node's own system errors. */
	declare readonly errno: number | undefined;
	/** The kernel's name for `errno`, such as `"EPERM"`. */
	declare readonly errnoCode: string | undefined;
	declare readonly syscall: string | undefined;
	declare readonly step: string | undefined;
	declare readonly mapping: string | undefined;
	/** The causes that were found, from which `hint` is made; undefined if the machine was not searched for one. Not enumerable. */
	declare readonly causes: readonly FoundCause[] | undefined;

	constructor(code: UsernsErrorCode, message: string, details: UsernsErrorDetails = {}) {
		// Only own properties count, as for all options (options.ts).
		const own: UsernsErrorDetails = Object.assign(Object.create(null), details);
		super(printable(message), own.cause === undefined ? undefined : { cause: own.cause });
		this.code = code;
		this.hint = printable(own.hint ?? hintOfCauses(own.causes) ?? codes[code].hint);
		const { errno, syscall, step, mapping, causes } = own;
		const errnoCode = errno === undefined ? undefined : errnoName(errno);
		for (const [name, value] of Object.entries({ errno, errnoCode, syscall, step, mapping, causes })) {
			// An own property even if undefined: otherwise a polluted Object.prototype would give it a value.
			const isShort = name !== "causes" && (name !== "mapping" || String(value).length <= LONGEST_SHOWN);
			const property = {
				value,
				enumerable: value !== undefined && isShort,
				configurable: true,
				writable: true,
			};
			Object.defineProperty(this, name, Object.assign(Object.create(null), property));
		}
	}

	/** The error as plain data, for `--json` and for logs. Only fields with a value are in it. */
	toJSON(): Record<string, unknown> {
		const { code, message, hint, errno, errnoCode, syscall, step, mapping } = this;
		const all = { code, message, hint, errno, errnoCode, syscall, step, mapping };
		return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
	}
}

/** Error numbers that the system calls of this package return and libuv's table lacks, with the texts of strerror(3). */
const moreErrnos: Record<number, [name: string, text: string]> = {
	[-8]: ["ENOEXEC", "exec format error"],
	[-15]: ["ENOTBLK", "block device required"],
	[-61]: ["ENODATA", "no data available"],
	[-87]: ["EUSERS", "too many users"],
	[-116]: ["ESTALE", "stale file handle"],
	[-117]: ["EUCLEAN", "structure needs cleaning"],
	[-122]: ["EDQUOT", "disk quota exceeded"],
};

function errnoEntry(errno: number): [name: string, text: string] | undefined {
	return getSystemErrorMap().get(errno) ?? moreErrnos[errno];
}

/** The kernel's name for a negative errno: `errnoName(-1)` is `"EPERM"`. */
export function errnoName(errno: number): string {
	return errnoEntry(errno)?.[0] ?? `errno ${-errno}`;
}

/** Name and text of a negative errno, for messages: `EPERM (operation not permitted)`. */
export function describeErrno(errno: number): string {
	const entry = errnoEntry(errno);
	return entry === undefined ? `errno ${-errno}` : `${entry[0]} (${entry[1]})`;
}

export function invalidArgument(message: string, hint?: string): UsernsError {
	return new UsernsError("ERR_USERNS_INVALID_ARGUMENT", message, { hint });
}

export function invalidMapping(message: string, hint?: string): UsernsError {
	return new UsernsError("ERR_USERNS_INVALID_MAPPING", message, { hint });
}

/** The error of a constructor that only this package calls, with Node's code for it. */
export function illegalConstructor(name: string, instead: string): TypeError {
	const error = new TypeError(`${name} has no public constructor: use ${instead}`);
	return Object.assign(error, { code: "ERR_ILLEGAL_CONSTRUCTOR" });
}

/** <linux/limits.h>, including the terminating NUL. */
export const PATH_MAX = 4096;

/** Throws unless the value is a path that the kernel accepts. */
export function checkPath(what: string, value: unknown): asserts value is string {
	if (typeof value !== "string" || value === "" || value.includes("\0")) {
		throw invalidArgument(`${what} must be a path without NUL, not ${show(value)}`);
	}
	if (Buffer.byteLength(value) >= PATH_MAX) {
		throw invalidArgument(
			`${what} has ${Buffer.byteLength(value)} bytes, and the kernel accepts at most ${PATH_MAX - 1}`,
			"Open a directory on the path as descriptor N, and begin the path with /proc/self/fd/N.",
		);
	}
}

/** A text of at most 70 characters for any value in a message. It never throws. */
export function show(value: unknown): string {
	let text: string;
	switch (typeof value) {
		case "string":
			text = JSON.stringify(value.length > 64 ? `${value.slice(0, 60)}…` : value);
			break;
		case "bigint":
			text = `${value}n`;
			break;
		case "object":
			text = value === null ? "null" : Array.isArray(value) ? "an array" : "an object";
			break;
		case "function":
			text = "a function";
			break;
		case "symbol":
			text = "a symbol";
			break;
		default:
			text = Object.is(value, -0) ? "-0" : String(value);
	}
	return text.length > 70 ? `${text.slice(0, 66)}…` : text;
}

/** The keys of an object, at most five, for a message. */
export function showKeys(object: object): string {
	const keys = Object.keys(object);
	if (keys.length === 0) return "no key";
	const shown = keys.slice(0, 5).map(show).join(", ");
	return `${keys.length === 1 ? "the key" : "the keys"} ${shown}${keys.length > 5 ? ", …" : ""}`;
}
