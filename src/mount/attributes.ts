import { invalidArgument, show } from "../errors.ts";

/** The attributes of a mount. A boolean that is false or not set keeps the attribute of the source. See mount_setattr(2). */
export interface AttributeOptions {
	/** The mount is read-only: MOUNT_ATTR_RDONLY. */
	readonly?: boolean | undefined;
	/** Set-user-ID and set-group-ID bits and file capabilities have no effect: MOUNT_ATTR_NOSUID. */
	nosuid?: boolean | undefined;
	/** Device files cannot be opened: MOUNT_ATTR_NODEV. */
	nodev?: boolean | undefined;
	/** Programs cannot be executed: MOUNT_ATTR_NOEXEC. */
	noexec?: boolean | undefined;
	/** Symbolic links are not followed: MOUNT_ATTR_NOSYMFOLLOW, Linux 5.14. */
	nosymfollow?: boolean | undefined;
	/** Reading a directory does not change its access time: MOUNT_ATTR_NODIRATIME. */
	nodiratime?: boolean | undefined;
	/** Whether reading a file changes its access time (default: as on the source's mount). */
	atime?: "relatime" | "noatime" | "strictatime" | undefined;
	/** Whether mounts on this mount are propagated (default `"private"`). See mount_namespaces(7). */
	propagation?: "private" | "shared" | "slave" | "unbindable" | undefined;
}

/** <linux/mount.h>, MOUNT_ATTR_…; see mount_setattr(2). */
const FLAGS = {
	readonly: 0x01,
	nosuid: 0x02,
	nodev: 0x04,
	noexec: 0x08,
	nodiratime: 0x80,
	nosymfollow: 0x200000,
} as const;
/** MOUNT_ATTR__ATIME. The access time is a field of two bits: setting it needs clearing all of it (EINVAL otherwise). */
const ATIME_FIELD = 0x70;
const ATIME = { relatime: 0x00, noatime: 0x10, strictatime: 0x20 } as const;
/** <sys/mount.h>, MS_…. */
export const PROPAGATION: Record<NonNullable<AttributeOptions["propagation"]>, number> = {
	private: 1 << 18,
	shared: 1 << 20,
	slave: 1 << 19,
	unbindable: 1 << 17,
};

export const ATTRIBUTE_BOOLEANS: readonly string[] = Object.keys(FLAGS);
/** The names, complete by their type. */
export const ATTRIBUTE_OPTIONS: readonly string[] = Object.keys({
	...FLAGS,
	atime: true,
	propagation: true,
} satisfies Record<keyof AttributeOptions, unknown>);

/** The attributes as the add-on takes them: MOUNT_ATTR_… to set and to clear, and MS_… for the propagation. */
export interface Attributes {
	set: number;
	clear: number;
	propagation: number;
}

export function checkAttributes(what: string, options: AttributeOptions): Attributes {
	checkBooleans(what, options, ATTRIBUTE_BOOLEANS);
	const given = options as Record<string, unknown>;
	let set = 0;
	for (const [name, flag] of Object.entries(FLAGS)) if (given[name] === true) set |= flag;
	const atime = pick(what, "atime", options.atime, ATIME);
	if (atime !== undefined) set |= atime;
	return {
		set,
		clear: atime === undefined ? 0 : ATIME_FIELD,
		propagation: pick(what, "propagation", options.propagation, PROPAGATION) ?? PROPAGATION.private,
	};
}

export function checkBooleans(what: string, options: object, names: readonly string[]): void {
	const given = options as Record<string, unknown>;
	for (const name of names) {
		if (given[name] !== undefined && typeof given[name] !== "boolean") {
			throw invalidArgument(`${what}: ${name} must be true or false, not ${show(given[name])}`);
		}
	}
}

/** The value of a word in the table; undefined for undefined. Throws for every other value. */
export function pick<T>(what: string, name: string, value: unknown, table: Record<string, T>): T | undefined {
	if (value === undefined) return undefined;
	if (typeof value === "string" && Object.hasOwn(table, value)) return table[value];
	throw invalidArgument(
		`${what}: unknown ${name} ${show(value)}`,
		`Choose one of: ${Object.keys(table).join(", ")}.`,
	);
}
