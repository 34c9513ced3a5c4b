import { checkPath, invalidArgument, show } from "../errors.ts";
import { copyOptions } from "../options.ts";
import { checkBooleans, pick } from "./attributes.ts";

export { checkPath, PATH_MAX } from "../errors.ts";

/** Where a mount goes, beside the target itself, and how the way there is found. */
export interface AttachOptions {
	/**
	 * The directory (a path or a descriptor) that the target is found in, as after chroot(2): neither `..` nor a symbolic
	 * link, whoever changes one meanwhile, leads out of it. RESOLVE_IN_ROOT of openat2(2), Linux 5.6.
	 */
	targetRoot?: string | number;
	/** `"no-symlinks"`: a path on which a symbolic link lies is refused. RESOLVE_NO_SYMLINKS of openat2(2), Linux 5.6. */
	resolve?: "no-symlinks";
	/**
	 * Take the place of what is mounted at the target, which at no moment is bare: the new mount goes beneath the old
	 * one, then the old one is unmounted, with all that is mounted on it. Where nothing is mounted it is simply attached.
	 * Linux 6.5.
	 */
	replace?: boolean | undefined;
	/**
	 * The mount namespace to attach it in: that of a process (its pid), with the target found under the root directory of
	 * that process; or a path such as /proc/PID/ns/mnt, with the target found under the root of that namespace. This
	 * process's own mount namespace is an error (`ERR_USERNS_MOUNT_NAMESPACE`); undefined is an error too.
	 */
	into?: number | string;
}

export const ATTACH_OPTIONS = ["targetRoot", "resolve", "replace", "into"] as const;

/** <linux/openat2.h>. */
export const RESOLVE = { noMagicLinks: 0x02, noSymlinks: 0x04, inRoot: 0x10 } as const;

export function checkLocation(what: string, value: unknown): asserts value is string | number {
	if (typeof value !== "number") checkPath(what, value);
	else if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff) {
		throw invalidArgument(`${what} must be a path or a descriptor, not ${show(value)}`);
	}
}

/** RESOLVE_… for a path of which nothing but the links matters. */
export function resolveFlags(what: string, resolve: unknown): number {
	const table = { "no-symlinks": RESOLVE.noSymlinks | RESOLVE.noMagicLinks };
	return pick(what, "resolve", resolve, table) ?? 0;
}

/** Checks the target and all that goes with it. */
export function checkTarget(what: string, target: unknown, options: AttachOptions): void {
	checkBooleans(what, options, ["replace"]);
	resolveFlags(what, options.resolve);
	if (target === undefined) {
		for (const name of ["targetRoot", "replace", "into"] as const) {
			if (options[name] !== undefined && options[name] !== false) {
				throw invalidArgument(`${what}: ${name} is of no use without a target`);
			}
		}
		return;
	}
	checkLocation(`${what}: the target`, target);
	if (options.targetRoot !== undefined) checkRoot(what, target, options);
	if (options.into !== undefined) checkInto(what, options.into);
}

function checkRoot(what: string, target: unknown, { targetRoot, into }: AttachOptions): void {
	checkLocation(`${what}: targetRoot`, targetRoot);
	if (typeof target === "number") {
		throw invalidArgument(`${what}: targetRoot is of no use beside a target that is a descriptor`);
	}
	if (into !== undefined) {
		throw invalidArgument(
			`${what}: there is both a targetRoot and an into`,
			"With into the target is found under the root of that mount namespace anyway: leave targetRoot out.",
		);
	}
}

function checkInto(what: string, into: unknown): void {
	if (typeof into === "string") checkPath(`${what}: into`, into);
	else if (typeof into !== "number" || !Number.isInteger(into) || into < 1 || into > 0x7fffffff) {
		throw invalidArgument(
			`${what}: into must be a pid or the path of a mount namespace, not ${show(into)}`,
			"A pid is a whole number from 1 to 2147483647.",
		);
	}
}

/** The options of attach(), checked and copied. */
export function checkAttachOptions(what: string, target: unknown, options: unknown): AttachOptions {
	const copy = copyOptions<AttachOptions>(what, options, ATTACH_OPTIONS);
	if (target === undefined) throw invalidArgument(`${what}: the target is missing`);
	checkTarget(what, target, copy);
	return copy;
}

/** A place in a message. */
export function showLocation(place: string | number): string {
	return typeof place === "number" ? `descriptor ${place}` : show(place);
}
