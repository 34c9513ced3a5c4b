import { UsernsError } from "../errors.ts";
import { compose, translate } from "../mapping/algebra.ts";
import { type Extents, type IdKind, NO_EXTENTS, showRanges } from "../mapping/extent.ts";
import { extentsOf, Mapping } from "../mapping/mapping.ts";
import { type Owner, ownerExtents } from "../mapping/owner.ts";
import { ownIdentity } from "../namespace/caller-map.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";
import { native } from "../native/addon.ts";
import { kernelError, shorten } from "../native/steps.ts";
import { closeTree, createTree, type DetachedTree } from "./detached-tree.ts";
import { showLocation } from "./location.ts";
import { mountError } from "./mount-errors.ts";
import { type Container, closeContainer, openContainer, ownerOfMounts } from "./mount-namespace.ts";
import type { MountRequest } from "./mount-options.ts";
import { openSource } from "./source.ts";

/** What a call opens before it mounts, and closes at its end. */
export interface Opened {
	/** The container of `into`. */
	into: Container | undefined;
	/** The container of `from`. */
	from: Container | undefined;
	/** The source, if `from` or `owner` needs its descriptor. */
	source: number | undefined;
}

export function closeOpened({ into, from, source }: Opened): void {
	if (source !== undefined) native().close(source);
	closeContainer(from);
	closeContainer(into);
}

/** A request whose map is known, and the sentences for the caller. */
export interface Resolved {
	request: MountRequest;
	warnings: readonly string[];
	/** With `owner`: the owner of the source as the mount must show it. */
	visible: Owner | undefined;
}

/**
 * Opens the namespaces of `into` and `from`, and the source if it has to be examined: the mount is made from its descriptor, whatever
 * another process does to the path. Replaces `owner` with a mapping, and `userns: "container"` with the user namespace.
 */
export async function resolveIntent(given: MountRequest, opened: Opened): Promise<Resolved> {
	const { target, attach, from } = given;
	if (attach.into !== undefined && target !== undefined)
		opened.into = await openContainer(attach.into, "into");
	if (from !== undefined) opened.from = await openContainer(from, "from");
	const request = { ...given, fromNs: opened.from?.mountNamespace.descriptor.fd };
	if (from !== undefined || given.owner !== undefined) {
		opened.source = await openSource(given, opened.from?.mountNamespace, tried(given));
		Object.assign(request, { source: opened.source, resolve: 0 });
	}
	if (given.owner !== undefined) return resolveOwner(request, given.owner, opened);
	const userns = given.userns === "container" ? usernsOf(request, opened.into) : given.userns;
	return { request: { ...request, userns }, warnings: [], visible: undefined };
}

/** The operation and its operands, for errors before the mapping is known. */
function tried({ shown, target, owner, mapping, userns, unmap }: MountRequest): string {
	let map = "with the map of a user namespace";
	if (userns === "container") map = "with the map of the container";
	if (mapping !== undefined) map = `with the mapping ${shorten(mapping.id)}`;
	if (owner !== undefined) map = `with the owner ${owner.uid}:${owner.gid}`;
	if (unmap) map = "without a map";
	return `cannot mount ${shown}${target === undefined ? "" : ` at ${showLocation(target)}`} ${map}`;
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

/** For each kind, the extents that make the IDs on disk visible that are not the owner's. */
type Others = Record<IdKind, Extents>;

/** Reads the owner of the source and makes the map for it. */
async function resolveOwner(request: MountRequest, owner: Owner, { into, from }: Opened): Promise<Resolved> {
	const disk = ownerOf(request.source as number, tried(request));
	if (from !== undefined) await refuseForeignOwner(request, disk, from);
	const has = into === undefined ? Mapping.identity() : await usernsOf(request, into).mapping();
	const inside = (kind: IdKind) => {
		const visible = translate(extentsOf(has)[kind], owner[kind]);
		if (visible !== undefined) return visible;
		throw new UsernsError(
			"ERR_USERNS_UNMAPPED_ID",
			`${tried(request)}: the container does not map the ${kind} ${owner[kind]}`,
			{ hint: `Use a ${kind} that the container has: ${showRanges(extentsOf(has)[kind], "containerID")}.` },
		);
	};
	return withOwner(request, disk, { uid: inside("uid"), gid: inside("gid") }, ownIdentity());
}

/**
 * Throws if the container of `from` does not map the owner of the source. Its root can mount any directory that it sees at the source, for
 * example /etc of the host, and would receive the files of an owner whose files it may not even read.
 */
async function refuseForeignOwner(request: MountRequest, disk: Owner, from: Container): Promise<void> {
	const { mountNamespace } = from;
	const process = usernsOf(request, from);
	refuseUnmapped(request, disk, await process.mapping());
	// The process can be in another user namespace than the one whose root may mount there.
	const userns = ownerOfMounts(mountNamespace);
	try {
		const owner = usernsOf(request, { mountNamespace, userns });
		if (!owner.equals(process)) refuseUnmapped(request, disk, await owner.mapping());
	} finally {
		if (userns instanceof UserNamespace) userns.close();
	}
}

function refuseUnmapped(request: MountRequest, disk: Owner, has: Mapping): void {
	for (const kind of ["uid", "gid"] as const) {
		if (translate(extentsOf(has.invert())[kind], disk[kind]) !== undefined) continue;
		throw new UsernsError(
			"ERR_USERNS_UNMAPPED_ID",
			`${tried(request)}: the source belongs to the ${kind} ${disk[kind]}, which the container of the source does not map`,
			{
				hint: `Check which directory the container has there. If its files are meant, set { mapping: "u:${disk.uid}:UID:1,g:${disk.gid}:GID:1" } instead of owner.`,
				step: "reading the owner of the source",
			},
		);
	}
}

function ownerOf(fd: number, tried: string): Owner {
	const read = native().fileOwner(fd);
	if (typeof read === "number") throw mountError(tried, "", { error: read, step: "file owner" });
	return { uid: Number(read[0]), gid: Number(read[1]) };
}

/** The request with the map that shows `disk` as `visible`. `all`: how every ID is visible with `others: "keep"`. */
function withOwner(request: MountRequest, disk: Owner, visible: Owner, all: Others): Resolved {
	const keeps = request.others === "keep";
	const extents = (kind: IdKind) =>
		ownerExtents(kind, disk[kind], visible[kind], keeps ? all[kind] : NO_EXTENTS);
	const mapping = Mapping.from({ uidMappings: extents("uid"), gidMappings: extents("gid") });
	const warnings = keeps ? displaced(disk, visible, all) : [];
	return { request: { ...request, mapping }, warnings, visible };
}

/** The IDs on disk whose place the owner takes. */
function displaced(disk: Owner, visible: Owner, all: Others): string[] {
	const { uidMappings, gidMappings } = Mapping.from({ uidMappings: all.uid, gidMappings: all.gid }).invert();
	const inverse = { uid: uidMappings, gid: gidMappings };
	return (["uid", "gid"] as const).flatMap((kind) => {
		const before = translate(inverse[kind], visible[kind]);
		if (before === undefined || before === disk[kind]) return [];
		return [
			`files of ${kind} ${before} on disk belong to nobody in the mount, because the owner's ${kind} ${disk[kind]} is visible as ${visible[kind]}`,
		];
	});
}

const COUNTED_THERE =
	"Give a mapping whose containerIDs are IDs of the user namespace in which the file system was mounted.";
const WITHOUT_BELOW = "Set { recursiveIdmap: false }: the mounts below may store IDs of the host.";

/**
 * Creates the tree of a request. With `owner`, the copy must show the owner: a file system that was mounted in another user namespace
 * stores the IDs of that one (make_vfsuid() in fs/mnt_idmapping.c). With `from`, the file system is tried as one of the container.
 */
export async function createResolved(
	{ request, visible, warnings }: Resolved,
	from: Container | undefined,
): Promise<{ tree: DetachedTree; warnings: readonly string[] }> {
	const tree = await createTree(request);
	let shows = visible === undefined;
	try {
		if (visible !== undefined) {
			const { uid, gid } = ownerOf(tree.descriptor.fd, tried(request));
			shows = uid === visible.uid && gid === visible.gid;
		}
		if (visible === undefined || shows) return { tree, warnings };
	} finally {
		if (!shows) closeTree(tree);
	}
	// The mounts below may store the IDs of the host, where the container's 0 is root.
	const again = request.recursiveIdmap ? undefined : await countedInside(request, visible, from);
	if (again !== undefined) return createResolved(again, undefined);
	throw new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried(request)}: the mount does not show the owner, because the file system stores IDs of another user namespace, or the owner has changed meanwhile`,
		{
			hint: request.recursiveIdmap && from !== undefined ? WITHOUT_BELOW : COUNTED_THERE,
			step: "reading the owner of the mount",
		},
	);
}

/** The request for a file system that stores IDs of the container of `from`; undefined if it cannot. */
async function countedInside(
	request: MountRequest,
	visible: Owner,
	from: Container | undefined,
): Promise<Resolved | undefined> {
	if (!(from?.userns instanceof UserNamespace)) return undefined;
	const inside = await from.userns.mapping();
	const seen = ownerOf(request.source as number, tried(request));
	const uid = inside.uidToContainer(seen.uid);
	const gid = inside.gidToContainer(seen.gid);
	if (uid === undefined || gid === undefined) return undefined;
	return withOwner(request, { uid, gid }, visible, extentsOf(inside));
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
