import { readlinkSync } from "node:fs";
import { checkPath, invalidArgument, show, UsernsError } from "../errors.ts";
import { native, type Outcome } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { refuseDenied } from "../permission.ts";

/** A file or directory: a path, or a descriptor, which the caller continues to own. */
export type Location = string | number;

export function checkLocation(what: string, value: unknown): asserts value is Location {
	if (typeof value !== "number") checkPath(what, value);
	else if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff) {
		throw invalidArgument(`${what} must be a path or a descriptor, not ${show(value)}`);
	}
}

/** A location in a message. */
export function showLocation(location: Location): string {
	return typeof location === "number" ? `descriptor ${location}` : show(location);
}

/** Opens a location with RESOLVE_… of openat2(2), or duplicates its descriptor. The result must be closed. */
export async function openLocation(location: Location, resolve: number, automount = false): Promise<Outcome> {
	return typeof location === "number"
		? native().duplicate(location)
		: native().openLocation(-1, location, resolve, -1, automount);
}

/** Calls a function with a location as the add-on takes it: −1 and a path, or a descriptor and null. */
export function withLocation(
	location: Location,
	step: string,
	call: (fd: number, path: string | null) => Promise<Outcome>,
): Promise<Outcome> {
	return typeof location === "string"
		? call(-1, location)
		: withDuplicate(location, step, (fd) => call(fd, null));
}

/**
 * Calls a function with a duplicate of the descriptor, so that the number cannot become another file's while the call waits
 * for a thread. EBADF is reported for `step`.
 */
export async function withDuplicate(
	fd: number,
	step: string,
	call: (duplicate: number) => Promise<Outcome>,
): Promise<Outcome> {
	const duplicate = native().duplicate(fd);
	if (duplicate.error < 0) return duplicate.error === ERRNO.EBADF ? { ...duplicate, step } : duplicate;
	try {
		return await call(duplicate.fd);
	} finally {
		native().close(duplicate.fd);
	}
}

/** The path of a descriptor. `what` names its file in the error. */
export function pathOf(fd: number, what: string, tried: string): string {
	try {
		return readlinkSync(`/proc/self/fd/${fd}`);
	} catch (cause) {
		refuseDenied(cause, `/proc/self/fd/${fd}`);
		throw new UsernsError("ERR_USERNS_MOUNT", `${tried}: the path of ${what} cannot be read`, {
			hint: "Mount a procfs at /proc.",
			step: `reading the path of ${what}`,
			cause,
		});
	}
}
