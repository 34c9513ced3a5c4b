import { checkOptions, invalidArgument, show } from "../errors.ts";
import type { MappingInput } from "../mapping/mapping.ts";
import { Handles } from "../namespace/handles.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";

/** Options of {@link mountIdmapped}. A boolean that is left out or false leaves the mount as the source's mount is. */
export interface MountIdmappedOptions {
	/** What to show: a path, or a descriptor of a file or directory (O_PATH does), which stays the caller's. */
	source: string | number;
	/** Where to attach it, a directory, or a file for a file. Left out: the mount stays detached, as a descriptor. */
	target?: string;
	/** `containerID` is the ID on disk, `hostID` the ID visible through the mount. Both kinds; or give `userns`. */
	mapping?: MappingInput;
	/** A namespace that has the map, instead of `mapping`. It stays the caller's, and may be closed afterwards. */
	userns?: UserNamespace;
	/** The cache to take the namespace from; without it a namespace is made for this mount. */
	handles?: Handles;
	/** Take the mounts below the source along (default false). */
	recursive?: boolean;
	/** Map those too (default: as `recursive`). When one of them refuses, nothing is mounted. */
	recursiveIdmap?: boolean;
	readonly?: boolean;
	nosuid?: boolean;
	nodev?: boolean;
	noexec?: boolean;
	/** Symbolic links on the mount are not followed. Linux 5.14. */
	nosymfollow?: boolean;
	nodiratime?: boolean;
	/** When reading a file changes its access time; left out: as the source's mount does. */
	atime?: "relatime" | "noatime" | "strictatime";
	/** How mounts on this mount spread (default `"private"`). See mount_namespaces(7). */
	propagation?: "private" | "shared" | "slave" | "unbindable";
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
const PROPAGATION = { private: 1 << 18, shared: 1 << 20, slave: 1 << 19, unbindable: 1 << 17 } as const;

const BOOLEANS = ["recursive", "recursiveIdmap", ...Object.keys(FLAGS)] as const;
const KNOWN = ["source", "target", "mapping", "userns", "handles", ...BOOLEANS, "atime", "propagation"];

/** The part of the options that the C part takes as numbers. */
export interface MountAttributes {
	recursive: boolean;
	recursiveIdmap: boolean;
	set: number;
	clear: number;
	propagation: number;
}

/** Checks every option; nothing was asked of the kernel yet. */
export function checkMountOptions(options: MountIdmappedOptions): MountAttributes {
	if (options === undefined) throw invalidArgument("mountIdmapped: the options are missing");
	checkOptions("mountIdmapped", options, KNOWN);
	checkPlaces(options);
	checkNamespace(options);
	const given = options as unknown as Record<string, unknown>;
	for (const name of BOOLEANS) {
		if (given[name] !== undefined && typeof given[name] !== "boolean") {
			throw invalidArgument(`mountIdmapped: ${name} must be true or false, not ${show(given[name])}`);
		}
	}
	const recursive = options.recursive ?? false;
	const recursiveIdmap = options.recursiveIdmap ?? recursive;
	if (recursiveIdmap && !recursive) {
		throw invalidArgument(
			"mountIdmapped: recursiveIdmap without recursive: mounts that are not taken along cannot be mapped",
			"Set recursive: true too.",
		);
	}
	let set = 0;
	for (const [name, flag] of Object.entries(FLAGS)) if (given[name] === true) set |= flag;
	const atime = pick("atime", options.atime, ATIME);
	if (atime !== undefined) set |= atime;
	return {
		recursive,
		recursiveIdmap,
		set,
		clear: atime === undefined ? 0 : ATIME_FIELD,
		propagation: pick("propagation", options.propagation, PROPAGATION) ?? PROPAGATION.private,
	};
}

function pick(name: string, value: unknown, table: Record<string, number>): number | undefined {
	if (value === undefined) return undefined;
	if (typeof value === "string" && Object.hasOwn(table, value)) return table[value];
	throw invalidArgument(
		`mountIdmapped: there is no ${name} ${show(value)}`,
		`Choose one of: ${Object.keys(table).join(", ")}.`,
	);
}

export function checkPath(what: string, value: unknown): asserts value is string {
	if (typeof value !== "string" || value === "" || value.includes("\0")) {
		throw invalidArgument(`${what} must be a path without NUL, not ${show(value)}`);
	}
}

function checkPlaces({ source, target }: MountIdmappedOptions): void {
	if (typeof source === "number") {
		if (!Number.isInteger(source) || source < 0 || source > 0x7fffffff) {
			throw invalidArgument(`mountIdmapped: the source must be a path or a descriptor, not ${show(source)}`);
		}
	} else checkPath("mountIdmapped: the source", source);
	if (target !== undefined) checkPath("mountIdmapped: the target", target);
}

function checkNamespace({ mapping, userns, handles }: MountIdmappedOptions): void {
	if ((mapping === undefined) === (userns === undefined)) {
		throw invalidArgument(
			mapping === undefined
				? "mountIdmapped: there is neither a mapping nor a userns"
				: "mountIdmapped: there is both a mapping and a userns",
			"Give one of them.",
		);
	}
	if (userns !== undefined && !(userns instanceof UserNamespace)) {
		throw invalidArgument(`mountIdmapped: userns must be a UserNamespace, not ${show(userns)}`);
	}
	if (handles === undefined) return;
	if (!(handles instanceof Handles)) {
		throw invalidArgument(`mountIdmapped: handles must be a Handles, not ${show(handles)}`);
	}
	if (userns !== undefined) {
		throw invalidArgument("mountIdmapped: handles is of no use beside userns", "Leave one of them out.");
	}
}
