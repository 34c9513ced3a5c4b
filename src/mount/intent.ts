import { UsernsError } from "../errors.ts";
import { compose, translate } from "../mapping/algebra.ts";
import { type Extents, type IdKind, NO_EXTENTS, showRanges } from "../mapping/extent.ts";
import { extentsOf, Mapping } from "../mapping/mapping.ts";
import { type Owner, ownerExtents } from "../mapping/owner.ts";
import { ownIdentity } from "../namespace/caller-map.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";
import { native } from "../native/addon.ts";
import { kernelError } from "../native/steps.ts";
import { openLocation, showLocation } from "./location.ts";
import { mountError } from "./mount-errors.ts";
import { type Container, closeMountNamespace, openContainer } from "./mount-namespace.ts";
import type { MountRequest } from "./mount-options.ts";

/** The container of a request's `into`; undefined without it. The caller closes it. */
export async function containerOf({ attach, target }: MountRequest): Promise<Container | undefined> {
	return attach.into === undefined || target === undefined ? undefined : openContainer(attach.into);
}

export function closeContainer(container: Container | undefined): void {
	if (container?.userns instanceof UserNamespace) container.userns.close();
	closeMountNamespace(container?.mountNamespace);
}

/** A request whose map is known, and the sentences for the caller. */
export interface Resolved {
	request: MountRequest;
	warnings: readonly string[];
	/** Closes the source, if it was opened. */
	close: () => void;
}

/** Replaces `owner` with a mapping, and `userns: "container"` with the user namespace. */
export async function resolveIntent(
	request: MountRequest,
	container: Container | undefined,
): Promise<Resolved> {
	if (request.owner !== undefined) return await resolveOwner(request, request.owner, container);
	if (request.userns !== "container") return { request, warnings: [], close: () => {} };
	const userns = usernsOf(request, container);
	return { request: { ...request, userns }, warnings: [], close: () => {} };
}

/** The operation and its operands, for errors before the mapping is known. */
function tried({ shown, target, owner }: MountRequest): string {
	const map = owner === undefined ? "map of the container" : `owner ${owner.uid}:${owner.gid}`;
	return `cannot mount ${shown}${target === undefined ? "" : ` at ${showLocation(target)}`} with the ${map}`;
}

function usernsOf(request: MountRequest, container: Container | undefined): UserNamespace {
	const userns = container?.userns;
	if (userns instanceof UserNamespace) return userns;
	const outcome = { error: 0, step: "", ...userns };
	throw kernelError(
		"ERR_USERNS_OPEN",
		`${tried(request)}: the container's user namespace cannot be opened`,
		outcome,
	);
}

/**
 * Opens the source, reads its owner from the descriptor, and continues with the descriptor, so that the owner is that of the directory
 * which is mounted, whatever another process does to the path.
 */
async function resolveOwner(
	request: MountRequest,
	owner: Owner,
	container: Container | undefined,
): Promise<Resolved> {
	const opened = await openLocation(request.source, request.resolve);
	if (opened.error < 0) throw mountError(tried(request), "", { ...opened, step: "open_tree" });
	const close = () => void native().close(opened.fd);
	try {
		const read = native().fileOwner(opened.fd);
		if (typeof read === "number") throw mountError(tried(request), "", { error: read, step: "file owner" });
		const disk = { uid: Number(read[0]), gid: Number(read[1]) };
		const inside = container === undefined ? undefined : await usernsOf(request, container).mapping();
		const has = extentsOf(inside ?? Mapping.identity());
		const others = request.others === "keep" ? ownIdentity() : { uid: NO_EXTENTS, gid: NO_EXTENTS };
		const extents = (kind: IdKind) => {
			const visible = translate(has[kind], owner[kind]);
			if (visible === undefined) throw notInContainer(request, kind, owner[kind], has[kind]);
			return ownerExtents(kind, disk[kind], visible, others[kind]);
		};
		const mapping = Mapping.from({ uidMappings: extents("uid"), gidMappings: extents("gid") });
		const warnings = request.others === "keep" ? displaced(disk, mapping) : [];
		return { request: { ...request, source: opened.fd, resolve: 0, mapping }, warnings, close };
	} catch (error) {
		close();
		throw error;
	}
}

function notInContainer(request: MountRequest, kind: IdKind, id: number, has: Extents): UsernsError {
	return new UsernsError(
		"ERR_USERNS_UNMAPPED_ID",
		`${tried(request)}: the container does not map the ${kind} ${id}`,
		{ hint: `Use a ${kind} that the container has: ${showRanges(has, "containerID")}.` },
	);
}

/** The IDs on disk whose place the owner takes. */
function displaced(disk: Owner, mapping: Mapping): string[] {
	return (["uid", "gid"] as const).flatMap((kind) => {
		const visible = kind === "uid" ? mapping.uidToHost(disk.uid) : mapping.gidToHost(disk.gid);
		if (visible === undefined || visible === disk[kind]) return [];
		return [
			`files of ${kind} ${visible} on disk belong to nobody in the mount, because the owner's ${kind} ${disk[kind]} is visible as ${visible}`,
		];
	});
}

/** Warns of a mount whose visible IDs do not exist in the container. */
export async function warnOfContainer(mapping: Mapping, container: Container | undefined): Promise<string[]> {
	if (!(container?.userns instanceof UserNamespace)) return [];
	let inside: Mapping;
	try {
		inside = await container.userns.mapping();
	} catch {
		return []; // only the warning needs it
	}
	const visible = extentsOf(mapping);
	const has = extentsOf(inside);
	return (["uid", "gid"] as const satisfies IdKind[]).flatMap((kind) => {
		if (compose(visible[kind], extentsOf(inside.invert())[kind]).length > 0) return [];
		return [
			`the container has no ${kind} that is visible in the mount, so its files belong to nobody there: the container's ${kind}s are ${showRanges(has[kind], "hostID")}, the visible ones ${showRanges(visible[kind], "hostID")}`,
		];
	});
}
