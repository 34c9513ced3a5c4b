import { closeSync, openSync } from "node:fs";
import { describeErrno, UsernsError, type UsernsErrorCode } from "../errors.ts";
import { native, type Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Operation, syncOrAsync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { refuseDenied } from "../permission.ts";
import { Lines, type MountEntry } from "./mount-entry.ts";

export { childrenOf, descendants, isIdmapped, type MountEntry, parseMountinfo } from "./mount-entry.ts";

/**
 * The size of the largest table that is read. A container's root controls the length of the lines: 4,000 mounts on one
 * long path make 120 MB. The 100,000 mounts that the kernel allows (fs.mount-max) fit at 335 bytes each.
 */
export const MOST_TABLE_BYTES: number = 32 << 20;
/** The bytes that are read and parsed in one piece. The event loop runs between two pieces. */
const PIECE_BYTES = 64 << 10;
/**
 * The time limits for reading a table, on the calling thread and on another one. For each line the kernel walks from
 * the mount up to the root directory (prepend_path() in fs/d_path.c), so n stacked mounts take n² steps.
 */
const MOST_MS = { now: 3_000, later: 10_000 } as const;

/** For errors: the code, the operation, and the name of the table. */
interface Reading {
	code: UsernsErrorCode;
	tried: string;
	name: string;
}

/** All mounts of a mount namespace (undefined: that of this process). `code` and `tried` are for the error. */
export function readMounts(
	mountNs: number | undefined,
	code: UsernsErrorCode,
	tried: string,
): Operation<MountEntry[]> {
	return syncOrAsync(
		() => [...readIn(mountNs, code, tried)],
		() => readInLater(mountNs, code, tried),
	);
}

/**
 * Yields the mounts of a mount namespace one by one, on the calling thread, so that the caller can stop at the one that it
 * needs.
 */
export function* readIn(
	mountNs: number | undefined,
	code: UsernsErrorCode,
	tried: string,
): Generator<MountEntry, void> {
	const { fd, name, close } = openTable(mountNs, code, tried);
	try {
		yield* readTable(fd, name, code, tried);
	} finally {
		close();
	}
}

/** Reads all mounts on another thread. */
export async function readInLater(
	mountNs: number | undefined,
	code: UsernsErrorCode,
	tried: string,
): Promise<MountEntry[]> {
	const { fd, name, close } = openTable(mountNs, code, tried);
	try {
		return await readTableLater(fd, name, code, tried);
	} finally {
		close();
	}
}

/** Opens the mountinfo of a mount namespace (undefined: that of this process). */
export function openTable(
	mountNs: number | undefined,
	code: UsernsErrorCode,
	tried: string,
): { fd: number; name: string; close: () => void } {
	if (mountNs !== undefined) {
		const table = native().mountTable(mountNs);
		if (table.error < 0) throw kernelError(code, tried, table);
		const close = () => void native().close(table.fd);
		return { fd: table.fd, name: "the mountinfo of the mount namespace", close };
	}
	const name = "/proc/self/mountinfo";
	try {
		const fd = openSync(name, "r");
		return { fd, name, close: () => closeSync(fd) };
	} catch (cause) {
		refuseDenied(cause, name);
		const { errno, syscall, message } = cause as NodeJS.ErrnoException;
		throw unreadable({ code, tried, name }, message, { errno, syscall, cause });
	}
}

/** Yields the mounts of an open mountinfo, read on the calling thread. */
export function* readTable(
	fd: number,
	name: string,
	code: UsernsErrorCode,
	tried: string,
): Generator<MountEntry, void> {
	const reader = new TableReader({ code, tried, name }, MOST_MS.now);
	for (;;) {
		const entries = reader.take(native().readPiece(fd, PIECE_BYTES, false));
		if (entries === undefined) return;
		yield* entries;
	}
}

/** Reads the mounts of an open mountinfo on another thread. The event loop runs between the pieces. */
export async function readTableLater(
	fd: number,
	name: string,
	code: UsernsErrorCode,
	tried: string,
): Promise<MountEntry[]> {
	const reader = new TableReader({ code, tried, name }, MOST_MS.later);
	const all: MountEntry[] = [];
	for (;;) {
		const entries = reader.take(await native().readPiece(fd, PIECE_BYTES, true));
		if (entries === undefined) return all;
		for (const entry of entries) all.push(entry);
	}
}

/** Assembles the pieces of a table, within the limits. */
class TableReader {
	readonly #reading: Reading;
	readonly #lines = new Lines();
	readonly #most: number;
	readonly #until: number;
	#bytes = 0;

	constructor(reading: Reading, most: number) {
		this.#reading = reading;
		this.#most = most;
		this.#until = performance.now() + most;
	}

	/** The mounts whose lines end in the piece; undefined at the end of the table. */
	take({ error, bytes }: Outcome): MountEntry[] | undefined {
		if (error < 0) throw unreadable(this.#reading, describeErrno(error), { errno: error, syscall: "read" });
		if (bytes === undefined) return undefined;
		this.#bytes += bytes.byteLength;
		if (this.#bytes > MOST_TABLE_BYTES) throw tooLarge(this.#reading);
		if (performance.now() > this.#until) throw tooSlow(this.#reading, this.#most);
		return this.#lines.take(Buffer.from(bytes));
	}
}

function unreadable(
	{ code, tried, name }: Reading,
	message: string,
	details: { errno?: number | undefined; syscall?: string | undefined; cause?: unknown },
): UsernsError {
	return new UsernsError(code, `${tried}: ${name} cannot be read: ${message}`, {
		hint: "Mount a procfs at /proc, and close a descriptor if none is free. Nothing was changed.",
		step: `reading ${name}`,
		...details,
	});
}

function tooLarge({ code, tried, name }: Reading): UsernsError {
	return new UsernsError(
		code,
		`${tried}: ${name} has more than ${MOST_TABLE_BYTES} bytes, the limit of this package`,
		{ hint: MANY_MOUNTS, step: "reading the mount table" },
	);
}

function tooSlow({ code, tried, name }: Reading, most: number): UsernsError {
	return new UsernsError(code, `${tried}: the kernel did not write ${name} within ${most / 1000} seconds`, {
		hint: MANY_MOUNTS,
		errno: ERRNO.ETIMEDOUT,
		step: "reading the mount table",
	});
}

const MANY_MOUNTS =
	"Unmount mounts in that mount namespace, or end the program that makes them: they are too many, or their paths are too long.";
