// Mapping.rootless looks subordinate IDs up there: the mapping layer itself does no I/O.
import "./subid/rootless.ts";

export { explanations, UsernsError, type UsernsErrorCode, type UsernsErrorDetails } from "./errors.ts";
export type { Extents, IdKind, IdMap } from "./mapping/extent.ts";
export {
	Mapping,
	type MappingContext,
	type MappingInput,
	type MappingSyntax,
	type OciMappings,
} from "./mapping/mapping.ts";
export type { RootlessOptions } from "./mapping/rootless.ts";
export { mappingSyntaxes } from "./mapping/syntax/forms.ts";

export type { AttributeOptions } from "./mount/attributes.ts";
export { mountIdmapped } from "./mount/idmapped.ts";
export { type HeldMount, IdmappedMount } from "./mount/idmapped-mount.ts";
export { type MountInfo, type MountsOptions, mounts, mountsAsync } from "./mount/mounts.ts";
export { type FromOciOptions, fromOci, type OciMount } from "./mount/oci.ts";
export type { MountIdmappedOptions } from "./mount/options.ts";
export { OverlayMount, type OverlayOptions, overlay } from "./mount/overlay.ts";
export type { PathOptions } from "./mount/path-options.ts";
export { pin, pinAsync } from "./mount/pin.ts";
export type { SkippedMount } from "./mount/plan.ts";
export { type MountSupport, supports } from "./mount/supports.ts";
export type { AttachOptions } from "./mount/target.ts";
export { type Unmounted, type UnmountOptions, unmount, unmountAsync } from "./mount/unmount.ts";
export type { NamespaceExecOptions, NamespaceSpawnOptions } from "./namespace/enter.ts";
export { Handles } from "./namespace/handles.ts";
export type { EnterOptions, NamespaceKind } from "./namespace/inside.ts";
export type { CreateMethod, CreateOptions } from "./namespace/options.ts";
export { UserNamespace } from "./namespace/user-namespace.ts";
