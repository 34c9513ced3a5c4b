import { invalidArgument, show } from "../errors.ts";
import type { MappingInput } from "../mapping/mapping.ts";
import { Handles } from "../namespace/handles.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";
import { copyOptions } from "../options.ts";
import { ATTACH_OPTIONS, type AttachOptions, checkLocation, checkTarget } from "./attach-options.ts";
import {
	ATTRIBUTE_OPTIONS,
	type AttributeOptions,
	type Attributes,
	checkAttributes,
	checkBooleans,
	pick,
} from "./attributes.ts";

/** Options of {@link mountIdmapped}. A boolean that is left out or false leaves the mount as the source's mount is. */
export interface MountIdmappedOptions extends AttributeOptions, AttachOptions {
	/** What to show: a path, or a descriptor of a file or directory (O_PATH does), which stays the caller's. */
	source: string | number;
	/** Where to attach it: a directory, or a file for a file; a path or a descriptor. Left out: the mount stays detached. */
	target?: string | number | undefined;
	/** `containerID` is the ID on disk, `hostID` the ID visible through the mount. Both kinds; or give `userns`. */
	mapping?: MappingInput | undefined;
	/** A namespace that has the map, instead of `mapping`. It stays the caller's, and may be closed afterwards. */
	userns?: UserNamespace | undefined;
	/** The cache to take the namespace from; without it a namespace is made for this mount. */
	handles?: Handles | undefined;
	/** Take the mounts below the source along (default false). */
	recursive?: boolean | undefined;
	/** Map those too (default: as `recursive`). When one of them refuses, nothing is mounted. */
	recursiveIdmap?: boolean | undefined;
	/** Mounts below the source whose file system cannot be mapped come along as they are, and are told in `skipped`. */
	skipUnsupported?: boolean | undefined;
	/**
	 * What to do with a mount that is ID-mapped already. `"compose"`, unless said otherwise: what is visible through it
	 * as an ID is visible as what `mapping` says of that ID, as if mounts were stacked. `"replace"`: its map counts no
	 * more, `containerID` is the ID on disk. `"refuse"`: an error. The first two need Linux 6.15.
	 */
	nested?: "compose" | "replace" | "refuse" | undefined;
	/** No map at all: the files as they are on disk, through a source that is ID-mapped. Instead of `mapping`. Linux 6.15. */
	unmap?: boolean | undefined;
}

const BOOLEANS = ["recursive", "recursiveIdmap", "skipUnsupported", "unmap"];
const KNOWN = [
	...["source", "target", "mapping", "userns", "handles", "nested", ...BOOLEANS],
	...ATTRIBUTE_OPTIONS,
	...ATTACH_OPTIONS,
];
const WHAT = "mountIdmapped";

/** A copy of the options without a prototype. Each option is read once. */
export function copyMountOptions(given: unknown): MountIdmappedOptions {
	if (given === undefined) throw invalidArgument(`${WHAT}: the options are missing`);
	return copyOptions<MountIdmappedOptions>(WHAT, given, KNOWN);
}

/** The part of the options that the C part takes as numbers, and what is decided by default. */
export interface MountAttributes extends Attributes {
	recursive: boolean;
	recursiveIdmap: boolean;
	nested: "compose" | "replace" | "refuse";
}

/** Checks every option of the copy, before any system call. */
export function checkMountOptions(options: MountIdmappedOptions): MountAttributes {
	checkLocation(`${WHAT}: the source`, options.source);
	checkTarget(WHAT, options.target, options);
	checkBooleans(WHAT, options, BOOLEANS);
	checkNamespace(options);
	const recursive = options.recursive ?? false;
	const recursiveIdmap = options.recursiveIdmap ?? recursive;
	if (recursiveIdmap && !recursive) {
		throw invalidArgument(
			`${WHAT}: recursiveIdmap without recursive: mounts that are not taken along cannot be mapped`,
			"Set recursive: true too.",
		);
	}
	if (options.skipUnsupported && !recursiveIdmap) {
		throw invalidArgument(
			`${WHAT}: skipUnsupported is of no use where no mount below the source is mapped`,
			"Set recursive: true too.",
		);
	}
	const nested = pick(WHAT, "nested", options.nested, NESTED) ?? "compose";
	return { recursive, recursiveIdmap, nested, ...checkAttributes(WHAT, options) };
}

const NESTED = { compose: "compose", replace: "replace", refuse: "refuse" } as const;

function checkNamespace({ mapping, userns, handles, unmap, nested }: MountIdmappedOptions): void {
	if (unmap) {
		for (const [name, value] of Object.entries({ mapping, userns, handles, nested })) {
			if (value !== undefined) throw invalidArgument(`${WHAT}: there is both unmap and ${name}`);
		}
		return;
	}
	if ((mapping === undefined) === (userns === undefined)) {
		throw invalidArgument(
			mapping === undefined
				? `${WHAT}: there is neither a mapping nor a userns`
				: `${WHAT}: there is both a mapping and a userns`,
			"Give one of them.",
		);
	}
	if (userns !== undefined && !(userns instanceof UserNamespace)) {
		throw invalidArgument(`${WHAT}: userns must be a UserNamespace, not ${show(userns)}`);
	}
	if (handles === undefined) return;
	if (!(handles instanceof Handles)) {
		throw invalidArgument(`${WHAT}: handles must be a Handles, not ${show(handles)}`);
	}
	if (userns !== undefined) {
		throw invalidArgument(`${WHAT}: handles is of no use beside userns`, "Leave one of them out.");
	}
}
