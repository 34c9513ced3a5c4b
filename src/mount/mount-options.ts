import { invalidArgument, show } from "../errors.ts";
import { Mapping, type MappingInput } from "../mapping/mapping.ts";
import { checkOthers, checkOwner, type Owner } from "../mapping/owner.ts";
import { Handles } from "../namespace/handles.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";
import { showNamespace } from "../native/lookup.ts";
import { copyOptions } from "../options.ts";
import {
	ATTACH_OPTIONS,
	type AttachOptions,
	checkMountNamespace,
	checkTarget,
	resolveFlags,
} from "./attach-options.ts";
import {
	ATTRIBUTE_OPTIONS,
	type AttributeOptions,
	type Attributes,
	checkAttributes,
	checkBooleans,
	pick,
} from "./attributes.ts";
import { checkLocation, type Location, showLocation } from "./location.ts";

/** Options of {@link mountIdmapped}. A boolean that is false or not set keeps the attribute of the source's mount. */
export interface MountIdmappedOptions extends AttributeOptions, AttachOptions {
	/** The file or directory to mount: a path, or a descriptor (O_PATH suffices), which the caller continues to own. */
	source: string | number;
	/**
	 * The mount namespace of the source, as `into` is that of the target. With a pid, the source is looked up below the root directory of
	 * that process. With a path such as /proc/PID/ns/mnt, it is looked up below the namespace's root. Neither `..` nor a symbolic link
	 * leads out of that root. Throws `ERR_USERNS_MOUNT_NAMESPACE` for the mount namespace of this process. The option must not be present
	 * but undefined.
	 */
	from?: number | string;
	/** Where to attach the mount: a directory for a directory, a file for a file. If not set, the mount stays detached. */
	target?: string | number | undefined;
	/** `containerID` is the ID on disk, `hostID` the ID visible through the mount. Needs uids and gids. Alternative: `userns`. */
	mapping?: MappingInput | undefined;
	/**
	 * A user namespace with the mapping, instead of `mapping`. The caller continues to own it and may close it after the call.
	 * `"container"` is the user namespace of `into`.
	 */
	userns?: UserNamespace | "container" | undefined;
	/**
	 * The files of the source's owner are visible as this user and group, instead of `mapping`. The owner is read from the source
	 * after it is opened. With `into`, the IDs are IDs inside the container: 0 is its root.
	 */
	owner?: Owner | undefined;
	/**
	 * With `owner`: how the other IDs are visible. `"unmapped"` (the default) maps none of them. With `"keep"` they are visible as they are
	 * on disk, except the ID that the owner gets, which `warnings` names.
	 */
	others?: "unmapped" | "keep" | undefined;
	/** The cache that provides the user namespace. If not set, a namespace is created for the mount. */
	handles?: Handles | undefined;
	/** Includes the mounts below the source (default false). */
	recursive?: boolean | undefined;
	/** Also maps the mounts below the source (default: as `recursive`). If one cannot be mapped, nothing is mounted. */
	recursiveIdmap?: boolean | undefined;
	/** Mounts a mount below the source without a map if its file system cannot be mapped, and lists it in `skipped`. */
	skipUnsupported?: boolean | undefined;
	/**
	 * How to treat a source that is ID-mapped (default `"compose"`). `"compose"`: `containerID` is the ID visible through
	 * the source, as if the mounts were stacked. `"replace"`: `containerID` is the ID on disk. Both need Linux 6.15.
	 * `"refuse"`: `ERR_USERNS_MOUNT`.
	 */
	nested?: "compose" | "replace" | "refuse" | undefined;
	/** Mounts a source that is ID-mapped without a map, so that the IDs on disk are visible. Not together with `mapping`. Linux 6.15. */
	unmap?: boolean | undefined;
}

/** The checked options of a mount, with the defaults. */
export interface MountRequest extends Attributes {
	source: Location;
	/** The source in messages. */
	shown: string;
	from: number | string | undefined;
	/** A descriptor of the mount namespace of the source; the source is then a descriptor too. Undefined for that of this process. */
	fromNs: number | undefined;
	/** Whether a source that is a detached mount may be mapped itself: the caller has given its descriptor. */
	itself: boolean;
	/** RESOLVE_… for the source's path. */
	resolve: number;
	/** Undefined: the mount stays detached. */
	target: Location | undefined;
	attach: AttachOptions;
	mapping: Mapping | undefined;
	userns: UserNamespace | "container" | undefined;
	owner: Owner | undefined;
	others: "unmapped" | "keep" | undefined;
	handles: Handles | undefined;
	unmap: boolean;
	recursive: boolean;
	recursiveIdmap: boolean;
	skipUnsupported: boolean;
	nested: "compose" | "replace" | "refuse";
	/** Whether one call of the add-on can map and attach the mount: no tree, and a target that needs no AttachOptions. */
	atOnce: boolean;
	/** Whether the mounts of the tree are attached one by one, because the target's mount is shared. */
	separate: boolean;
}

const WHAT = "mountIdmapped";
const BOOLEANS = ["recursive", "recursiveIdmap", "skipUnsupported", "unmap"];
/** The names, complete by their type. */
const OWN_OPTIONS = Object.keys({
	source: true,
	from: true,
	target: true,
	mapping: true,
	userns: true,
	owner: true,
	others: true,
	handles: true,
	nested: true,
	recursive: true,
	recursiveIdmap: true,
	skipUnsupported: true,
	unmap: true,
} satisfies Record<Exclude<keyof MountIdmappedOptions, keyof AttributeOptions | keyof AttachOptions>, true>);
const OPTIONS = [...OWN_OPTIONS, ...ATTRIBUTE_OPTIONS, ...ATTACH_OPTIONS];

/** Copies and checks all options of mountIdmapped(), before any system call. */
export function checkMountOptions(given: unknown): MountRequest {
	if (given === undefined) throw invalidArgument(`${WHAT}: the options are missing`);
	const options = copyOptions<MountIdmappedOptions>(WHAT, given, OPTIONS);
	const { source, from, target, userns, handles, unmap = false, skipUnsupported = false } = options;
	checkLocation(`${WHAT}: the source`, source);
	if (from !== undefined) checkMountNamespace(WHAT, "from", from);
	else if (Object.hasOwn(options, "from")) {
		// As for `into` (src/options.ts). Functions without mounts have an option of that name too.
		throw invalidArgument(
			`${WHAT}: from is present but undefined`,
			"Leave from out to use the mount namespace of this process. The pid of a child that failed to start is undefined.",
		);
	}
	checkTarget(WHAT, target, options);
	checkBooleans(WHAT, options, BOOLEANS);
	checkIntent(options);
	if (options.unmap) checkUnmap(options);
	else checkNamespace(WHAT, options, ["mapping", "userns", "owner"]);
	const recursive = options.recursive ?? false;
	const recursiveIdmap = options.recursiveIdmap ?? recursive;
	if (recursiveIdmap && !recursive) {
		throw invalidArgument(`${WHAT}: recursiveIdmap needs recursive`, "Set { recursive: true } too.");
	}
	if (skipUnsupported && !recursiveIdmap) {
		throw invalidArgument(
			`${WHAT}: skipUnsupported needs recursiveIdmap`,
			"Set { recursive: true }, and leave recursiveIdmap out.",
		);
	}
	const nested = pick(WHAT, "nested", options.nested, NESTED) ?? "compose";
	const attributes = checkAttributes(WHAT, options);
	const mapping = options.mapping === undefined ? undefined : Mapping.from(options.mapping);
	const { targetRoot, into, replace } = options;
	const isPlain = targetRoot === undefined && into === undefined && !replace;
	// The copy of a source that is opened before is examined before it is attached.
	const isOpened = options.owner !== undefined || from !== undefined;
	return {
		...attributes,
		source,
		shown: `${showLocation(source)}${from === undefined ? "" : ` in the mount namespace ${showNamespace(from)}`}`,
		from,
		fromNs: undefined,
		itself: typeof source === "number" && from === undefined && !unmap,
		resolve: resolveFlags(WHAT, options.resolve),
		target,
		attach: options,
		mapping,
		userns,
		owner: options.owner === undefined ? undefined : checkOwner(`${WHAT}: owner`, options.owner),
		others: checkOthers(WHAT, options.others),
		handles,
		unmap,
		recursive,
		recursiveIdmap,
		skipUnsupported,
		nested,
		atOnce: target !== undefined && !recursive && isPlain && !isOpened,
		separate: false,
	};
}

const NESTED = { compose: "compose", replace: "replace", refuse: "refuse" } as const;

/** The rules for `owner`, `others` and `userns: "container"`. */
function checkIntent({ userns, owner, others, nested, into }: MountIdmappedOptions): void {
	if (others !== undefined && owner === undefined) {
		throw invalidArgument(`${WHAT}: others needs owner`, "Set owner, or leave others out.");
	}
	// The owner is the one that is visible through the source, and with "replace" the map counts from the disk.
	if (owner !== undefined && nested === "replace") exclude(WHAT, "owner", 'nested: "replace"');
	if (userns === "container" && into === undefined) {
		throw invalidArgument(`${WHAT}: userns: "container" needs into`, "Set into to the container's pid.");
	}
}

function checkUnmap({ mapping, userns, owner, handles, nested }: MountIdmappedOptions): void {
	for (const [name, value] of Object.entries({ mapping, userns, owner, handles, nested })) {
		if (value !== undefined) exclude(WHAT, "unmap", name);
	}
}

/** The options for the map of a mount: one of `mapping` and `userns`, and the cache for a mapping. */
export interface NamespaceOptions {
	mapping?: unknown;
	userns?: unknown;
	/** Undefined for a function without this option. */
	owner?: unknown;
	handles?: unknown;
}

/** Checks the options for the map, but not the mapping itself. */
export function checkNamespace(
	what: string,
	{ mapping, userns, owner, handles }: NamespaceOptions,
	words: readonly string[] = ["mapping", "userns"],
): void {
	const given = Object.entries({ mapping, userns, owner }).filter(([, value]) => value !== undefined);
	const [[one] = [], [other] = []] = given;
	if (one === undefined) {
		const names = `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
		throw invalidArgument(
			`${what}: ${names} are ${words.length > 2 ? "all" : "both"} missing`,
			"Set one of them.",
		);
	}
	if (other !== undefined) exclude(what, one, other);
	const isWord = userns === "container" && words.includes("owner");
	if (userns !== undefined && !isWord && !(userns instanceof UserNamespace)) {
		const kinds = words.includes("owner") ? 'a UserNamespace or "container"' : "a UserNamespace";
		throw invalidArgument(`${what}: userns must be ${kinds}, not ${show(userns)}`);
	}
	if (handles === undefined) return;
	if (!(handles instanceof Handles)) {
		throw invalidArgument(`${what}: handles must be a Handles, not ${show(handles)}`);
	}
	if (userns !== undefined) exclude(what, "handles", "userns");
}

function exclude(what: string, one: string, other: string): never {
	throw invalidArgument(`${what}: ${one} and ${other} cannot be used together`, "Leave one of them out.");
}
