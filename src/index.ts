// Give Mapping.rootless() its look-up of subordinate IDs and Mapping.bestFor() its creation, because src/mapping/ does no I/O.
import "./namespace/best-for.ts";
import "./subid/rootless.ts";

export {
	type Diagnosis,
	type DoctorCheck,
	type DoctorJob,
	type DoctorOptions,
	doctor,
} from "./doctor/doctor.ts";
export { type ErrorExplanation, explainError } from "./doctor/explain-error.ts";
export {
	explanations,
	type FoundCause,
	UsernsError,
	type UsernsErrorCode,
	type UsernsErrorDetails,
} from "./errors.ts";
export type { LostOwner, OwnerChain } from "./explain/chain.ts";
export { type ExplainOptions, type Explanation, explain } from "./explain/explain.ts";
export type { Access } from "./explain/rules.ts";
export type { Verdict } from "./explain/situation.ts";
export type { ExplainAs } from "./explain/subject.ts";
export { type ListOptions, list, type NamespaceList } from "./list/list.ts";
export type { ListedNamespace, NamespaceHolder } from "./list/scan.ts";
export type { Extents, IdKind, IdMap } from "./mapping/extent.ts";
export {
	Mapping,
	type MappingContext,
	type MappingInput,
	type MappingSyntax,
	type OciMappings,
	type SubidUser,
} from "./mapping/mapping.ts";
export type { IdRange, Owner, OwnerOptions } from "./mapping/owner.ts";
export type { BestMapping, RootlessOptions } from "./mapping/rootless.ts";
export { mappingSyntaxes, mappingSyntaxUses } from "./mapping/syntax/forms.ts";
export type { AttachOptions } from "./mount/attach-options.ts";
export type { AttributeOptions } from "./mount/attributes.ts";
export { type FromOciOptions, fromOci, type OciFeatures, type OciMount } from "./mount/from-oci.ts";
export { type HeldMount, IdmappedMount } from "./mount/idmapped-mount.ts";
export { mountIdmapped } from "./mount/mount-idmapped.ts";
export type { MountIdmappedOptions } from "./mount/mount-options.ts";
export { type MountInfo, type MountsOptions, mounts, mountsAsync } from "./mount/mounts.ts";
export { OverlayMount, type OverlayOptions, overlay } from "./mount/overlay.ts";
export type { PathOptions } from "./mount/path-options.ts";
export { pin, pinAsync } from "./mount/pin.ts";
export { type MountSupport, supports } from "./mount/supports.ts";
export type { SkippedMount } from "./mount/tree-plan.ts";
export { type Unmounted, type UnmountOptions, unmount, unmountAsync } from "./mount/unmount.ts";
export type { CreateMethod, CreateOptions } from "./namespace/create-options.ts";
export type {
	EnterOptions,
	FailureText,
	JoinedNamespaces,
	NamespaceExecOptions,
	NamespaceKind,
	NamespaceSpawnOptions,
} from "./namespace/enter-options.ts";
export { Handles } from "./namespace/handles.ts";
export type { NamespaceHandle } from "./namespace/open.ts";
export { UserNamespace } from "./namespace/user-namespace.ts";
export { type Account, findId, findUser } from "./subid/users.ts";
