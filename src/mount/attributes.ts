import { invalidArgument, show } from "../errors.ts";

/** What mount_setattr(2) can do beside the map. A boolean that is left out or false leaves the mount as the source's is. */
export interface AttributeOptions {
	readonly?: boolean | undefined;
	nosuid?: boolean | undefined;
	nodev?: boolean | undefined;
	noexec?: boolean | undefined;
	/** Symbolic links on the mount are not followed. Linux 5.14. */
	nosymfollow?: boolean | undefined;
	nodiratime?: boolean | undefined;
	/** When reading a file changes its access time; left out: as the source's mount does. */
	atime?: "relatime" | "noatime" | "strictatime" | undefined;
	/** How mounts on this mount spread (default `"private"`). See mount_namespaces(7). */
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
/** The access time is not a flag but a field: to set it, all of it is cleared (EINVAL otherwise). */
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
export const ATTRIBUTE_OPTIONS: readonly string[] = [...ATTRIBUTE_BOOLEANS, "atime", "propagation"];

/** The attributes as the C part takes them. */
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

/** The value that the table has for a word, or undefined for undefined. */
export function pick<T>(what: string, name: string, value: unknown, table: Record<string, T>): T | undefined {
	if (value === undefined) return undefined;
	if (typeof value === "string" && Object.hasOwn(table, value)) return table[value];
	throw invalidArgument(
		`${what}: there is no ${name} ${show(value)}`,
		`Choose one of: ${Object.keys(table).join(", ")}.`,
	);
}
