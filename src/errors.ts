import { getSystemErrorMap } from "node:util";

/**
 * Every code that an error of this package can carry, with what it means. The codes are part of the public
 * contract and never change their meaning; the messages may.
 */
export const explanations = {
	ERR_USERNS_INVALID_ARGUMENT: "an argument or option has the wrong type, name or value",
	ERR_USERNS_INVALID_MAPPING: "the mapping breaks a rule of the kernel's uid_map or gid_map files",
	ERR_USERNS_UNMAPPED_ID: "an ID is not mapped in the user namespace that the caller lives in",
	ERR_USERNS_CLOSED: "the descriptor was closed before this use",
	ERR_USERNS_CREATE: "the kernel did not make the user namespace",
	ERR_USERNS_RESTRICTED: "a setting of this machine keeps ordinary users from making user namespaces",
	ERR_USERNS_HELPER_MISSING: "newuidmap or newgidmap is needed and not installed",
	ERR_USERNS_HELPER_FAILED: "newuidmap or newgidmap did not write the map",
	ERR_USERNS_UNKNOWN_USER: "the user is not known to this machine",
	ERR_USERNS_NO_SUBIDS: "the user has no subordinate IDs",
	ERR_USERNS_NOT_DELEGATED: "the mapping has IDs that are not among the user's own and subordinate ones",
	ERR_USERNS_MAPPING_DIFFERS: "the user namespace got another mapping than was asked for",
	ERR_USERNS_LIMIT: "a limit on the number or the depth of user namespaces is reached",
	ERR_USERNS_OPEN: "the user namespace could not be opened",
	ERR_USERNS_NOT_A_USER_NAMESPACE: "the file or descriptor is something else than a user namespace",
	ERR_USERNS_READ_MAPPING: "the mapping of a user namespace could not be read back",
	ERR_USERNS_DESCRIPTOR: "a descriptor could not be duplicated or asked about",
	ERR_USERNS_MOUNT: "the kernel did not make or attach the mount",
	ERR_USERNS_ATTACHED: "the mount is attached already, and would be moved",
	ERR_USERNS_READ_MOUNTS: "the mounts of a mount namespace, or the map of one, could not be read",
	ERR_USERNS_MOUNT_NAMESPACE: "the mount namespace could not be opened, or is this process's own",
	ERR_USERNS_UNMOUNT: "the mount could not be taken away",
	ERR_USERNS_PIN: "the user namespace could not be kept at a path",
	ERR_USERNS_NO_PROGRAM: "the program to run is not there or may not be executed",
	ERR_USERNS_SPAWN: "the program could not be started in the user namespace",
	ERR_USERNS_UNSUPPORTED_PLATFORM: "this needs Linux",
	ERR_USERNS_UNSUPPORTED_KERNEL: "this kernel lacks a system call that is needed",
	ERR_USERNS_NATIVE_MISSING: "the compiled part of the package is not there or does not load",
} as const;

export type UsernsErrorCode = keyof typeof explanations;

/**
 * A text without characters that a terminal obeys or that change how a line is read: what somebody else wrote is in
 * messages, and they reach terminals and logs.
 */
function printable(text: string): string {
	return text.replaceAll(
		/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
		(character) => `\\u{${(character.codePointAt(0) as number).toString(16)}}`,
	);
}

/** What an error can say beside its code and message. Fields that do not apply are left out. */
export interface UsernsErrorDetails {
	/** One sentence on what to do. */
	hint?: string | undefined;
	/** The kernel's answer as a negative number, as libuv writes it: −1 for EPERM. */
	errno?: number | undefined;
	/** The system call that failed. */
	syscall?: string | undefined;
	/** The step of the operation that failed, in words. */
	step?: string | undefined;
	/** The mapping that was asked for, in the `colon` text form. */
	mapping?: string | undefined;
	/** Anything that came before. */
	cause?: unknown;
}

/**
 * The one error class. `code` is stable; `errno`, `errnoCode` and `syscall` are there where the kernel said no;
 * `hint` says in one sentence what to do about it.
 */
export class UsernsError extends Error {
	override readonly name: string = "UsernsError";
	readonly code: UsernsErrorCode;
	readonly hint: string | undefined;
	/** Negative, as in Node's own system errors. */
	readonly errno: number | undefined;
	/** The kernel's name for `errno`, such as `"EPERM"`. */
	readonly errnoCode: string | undefined;
	readonly syscall: string | undefined;
	readonly step: string | undefined;
	readonly mapping: string | undefined;

	constructor(code: UsernsErrorCode, message: string, details: UsernsErrorDetails = {}) {
		// Only own properties count, as for all options (options.ts).
		const own: UsernsErrorDetails = Object.assign(Object.create(null), details);
		super(printable(message), own.cause === undefined ? undefined : { cause: own.cause });
		this.code = code;
		this.hint = own.hint && printable(own.hint);
		this.errno = own.errno;
		this.errnoCode = own.errno === undefined ? undefined : errnoName(own.errno);
		this.syscall = own.syscall;
		this.step = own.step;
		this.mapping = own.mapping;
	}

	/** The error as plain data, for `--json` and for logs. */
	toJSON(): Record<string, unknown> {
		const { code, message, hint, errno, errnoCode, syscall, step, mapping } = this;
		return { code, message, hint, errno, errnoCode, syscall, step, mapping };
	}
}

/** What libuv's own table lacks, of what the calls of this package can answer; texts as strerror(3) has them. */
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

export function invalidArgument(
	message: string,
	hint = "Nothing was done: correct that and call again.",
): UsernsError {
	return new UsernsError("ERR_USERNS_INVALID_ARGUMENT", message, { hint });
}

export function invalidMapping(
	message: string,
	hint = "An extent has a first ID inside, a first ID outside and a size of at least 1, all whole numbers; the last ID is 4294967294.",
): UsernsError {
	return new UsernsError("ERR_USERNS_INVALID_MAPPING", message, { hint });
}

/** <linux/limits.h>, with the NUL at the end. */
export const PATH_MAX = 4096;

/** Throws unless the value is a path that the kernel accepts. */
export function checkPath(what: string, value: unknown): asserts value is string {
	if (typeof value !== "string" || value === "" || value.includes("\0")) {
		throw invalidArgument(`${what} must be a path without NUL, not ${show(value)}`);
	}
	if (Buffer.byteLength(value) >= PATH_MAX) {
		throw invalidArgument(
			`${what} has ${Buffer.byteLength(value)} bytes, and the kernel takes paths of at most ${PATH_MAX - 1}`,
			"Open a directory on the path, and start the path there: /proc/self/fd/N/….",
		);
	}
}

/** A short text for any value in a message: never throws, never long. */
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
