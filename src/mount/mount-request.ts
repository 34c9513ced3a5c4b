import type { Mapping } from "../mapping/mapping.ts";
import type { Handles } from "../namespace/handles.ts";
import type { UserNamespace } from "../namespace/user-namespace.ts";
import type { MountAttributes } from "./mount-options.ts";

/** What is to be made. */
export interface MountRequest extends MountAttributes {
	source: string | number;
	/** RESOLVE_… for the source's path. */
	resolve: number;
	/** Where it will be attached, for messages; undefined: nowhere yet. */
	target: string | number | undefined;
	mapping: Mapping | undefined;
	userns: UserNamespace | undefined;
	handles: Handles | undefined;
	unmap: boolean;
	skipUnsupported: boolean;
	/** One mount at a target that is found as every path is: it can be made and attached at once. */
	plain: boolean;
	/** Whether the mounts of the tree are attached one by one. */
	separate: boolean;
}
