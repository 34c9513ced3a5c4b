import { checkPath, invalidArgument, show } from "../errors.ts";
import { copyOptions } from "../options.ts";
import { checkBooleans, pick } from "./attributes.ts";
import { checkLocation } from "./location.ts";

/** Where a mount is attached, and how its target is looked up. */
export interface AttachOptions {
	/**
	 * The directory, a path or a descriptor, in which the target is looked up, as after chroot(2): neither `..` nor a symbolic
	 * link leads out of it, even if another process changes them meanwhile. RESOLVE_IN_ROOT of openat2(2), Linux 5.6.
	 */
	targetRoot?: string | number;
	/** `"no-symlinks"` refuses a path with a symbolic link. RESOLVE_NO_SYMLINKS of openat2(2), Linux 5.6. */
	resolve?: "no-symlinks";
	/**
	 * Replaces the mount at the target (default false). The new mount is attached beneath the old one, and then the old one is
	 * unmounted with all mounts on it, so that the target is never without a mount. If nothing is mounted there, the
	 * mount is attached as usual. Linux 6.5.
	 */
	replace?: boolean | undefined;
	/**
	 * The mount namespace in which to attach the mount. A pid: that of the process, with the target below the root directory of the
	 * process. A path such as /proc/PID/ns/mnt: that namespace, with the target below its root. Throws
	 * `ERR_USERNS_MOUNT_NAMESPACE` for the mount namespace of this process. The option must not be present but undefined.
	 */
	into?: number | string;
}

/** The names, complete by their type. */
export const ATTACH_OPTIONS: readonly string[] = Object.keys({
	targetRoot: true,
	resolve: true,
	replace: true,
	into: true,
} satisfies Record<keyof AttachOptions, true>);

/** <linux/openat2.h>. */
export const RESOLVE = { noMagicLinks: 0x02, noSymlinks: 0x04, inRoot: 0x10 } as const;

/** RESOLVE_… for the option `resolve`. */
export function resolveFlags(what: string, resolve: unknown): number {
	const table = { "no-symlinks": RESOLVE.noSymlinks | RESOLVE.noMagicLinks };
	return pick(what, "resolve", resolve, table) ?? 0;
}

/** Checks a target and its AttachOptions. */
export function checkTarget(what: string, target: unknown, options: AttachOptions): void {
	checkBooleans(what, options, ["replace"]);
	resolveFlags(what, options.resolve);
	if (target === undefined) {
		for (const name of ["targetRoot", "replace", "into"] as const) {
			if (options[name] !== undefined && options[name] !== false) {
				throw invalidArgument(`${what}: ${name} needs a target`, `Set target, or leave ${name} out.`);
			}
		}
		return;
	}
	checkLocation(`${what}: the target`, target);
	if (options.targetRoot !== undefined) checkRoot(what, target, options);
	if (options.into !== undefined) checkMountNamespace(what, "into", options.into);
}

function checkRoot(what: string, target: unknown, { targetRoot, into }: AttachOptions): void {
	checkLocation(`${what}: targetRoot`, targetRoot);
	if (typeof target === "number") {
		throw invalidArgument(
			`${what}: targetRoot needs a target that is a path, not a descriptor`,
			"Leave targetRoot out, or pass the target as a path.",
		);
	}
	if (into !== undefined) {
		throw invalidArgument(
			`${what}: targetRoot and into cannot be used together`,
			"Leave targetRoot out: with into, the target is looked up below the root of that mount namespace.",
		);
	}
}

/** Checks the option `name`, which names a mount namespace. */
export function checkMountNamespace(what: string, name: string, value: unknown): void {
	if (typeof value === "string") checkPath(`${what}: ${name}`, value);
	else if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 0x7fffffff) {
		throw invalidArgument(
			`${what}: ${name} must be a pid or the path of a mount namespace, not ${show(value)}`,
			"Pass a pid from 1 to 2147483647, or a path such as /proc/PID/ns/mnt.",
		);
	}
}

/** Checks and copies the arguments of attach(). */
export function checkAttachOptions(what: string, target: unknown, options: unknown): AttachOptions {
	const copy = copyOptions<AttachOptions>(what, options, ATTACH_OPTIONS);
	if (target === undefined) throw invalidArgument(`${what}: the target is missing`);
	checkTarget(what, target, copy);
	return copy;
}
