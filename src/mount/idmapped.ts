import { show, UsernsError } from "../errors.ts";
import { Mapping } from "../mapping/mapping.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";
import { Descriptor } from "../native/descriptor.ts";
import { native, type Outcome } from "../native/load.ts";
import { ERRNO, kernelError, shorten } from "../native/steps.ts";
import { adoptMount, type IdmappedMount } from "./idmapped-mount.ts";
import { descendants, type MountEntry, readMountinfo } from "./mountinfo.ts";
import { checkMountOptions, type MountAttributes, type MountIdmappedOptions } from "./options.ts";

/**
 * Shows `source` at `target` under other owners, without a change on disk. A copy of the source's mount is mapped and
 * given its attributes while nobody sees it, and only then attached; when a step fails, nothing is left.
 *
 * Needs CAP_SYS_ADMIN in the user namespace that owns the file system, Linux 5.12 and a file system that can be
 * mapped. Throws `ERR_USERNS_INVALID_ARGUMENT` or `ERR_USERNS_INVALID_MAPPING` before any system call, and
 * `ERR_USERNS_MOUNT` with the step that failed. Under a shared parent mount, mounts that are its peers receive the
 * new mount; what is mounted on it afterwards stays here.
 * @see mount_setattr(2), "ID-mapped mounts"; open_tree(2); move_mount(2)
 */
export async function mountIdmapped(options: MountIdmappedOptions): Promise<IdmappedMount> {
	const attributes = checkMountOptions(options);
	const { namespace, mapping } = await findNamespace(options);
	try {
		const outcome = await mount(options, namespace.fd, attributes);
		if (outcome.error < 0) throw mountError(options, mapping, outcome);
		const submounts = findSubmounts(options, outcome, attributes.recursive);
		const descriptor = new Descriptor(outcome.fd, "IdmappedMount");
		return adoptMount(descriptor, options.target, outcome.mountId, mapping, submounts);
	} finally {
		namespace.close(); // the mount has what it needs
	}
}

/** The mounts that came along, so that unmount() can tell them from what others mount there later. */
function findSubmounts(
	options: MountIdmappedOptions,
	{ fd, mountId }: Outcome,
	recursive: boolean,
): MountEntry[] {
	if (options.target === undefined || !recursive) return [];
	try {
		return descendants(readMountinfo("ERR_USERNS_MOUNT", `cannot mount on ${show(options.target)}`), mountId);
	} catch (error) {
		native().detach(fd); // a mount that was reported as failed must not be there
		native().close(fd);
		throw error;
	}
}

/** A namespace of our own to use for this call, and what it maps. */
async function findNamespace(
	options: MountIdmappedOptions,
): Promise<{ namespace: UserNamespace; mapping: Mapping }> {
	if (options.userns !== undefined) {
		const namespace = options.userns.dup(); // the caller may close his while this is under way
		try {
			const mapping = await namespace.mapping();
			refuseOneKind(mapping);
			return { namespace, mapping };
		} catch (error) {
			namespace.close();
			throw error;
		}
	}
	const mapping = Mapping.from(options.mapping as NonNullable<typeof options.mapping>);
	refuseOneKind(mapping);
	const namespace = await (options.handles?.get(mapping) ?? UserNamespace.create(mapping));
	return { namespace, mapping };
}

/** The kernel says EINVAL only, and before Linux 5.17 or so took it, showing every ID of the other kind as nobody's. */
function refuseOneKind({ uidMappings, gidMappings }: Mapping): void {
	if (uidMappings.length > 0 && gidMappings.length > 0) return;
	const [has, lacks] = uidMappings.length > 0 ? ["uids", "gids"] : ["gids", "uids"];
	const what = uidMappings.length + gidMappings.length === 0 ? "maps nothing" : `maps ${has} but no ${lacks}`;
	throw new UsernsError(
		"ERR_USERNS_INVALID_MAPPING",
		`an ID-mapped mount needs both kinds, but the mapping ${what}`,
		{
			hint: "Give uidMappings and gidMappings, or extents without a u: or g: before them.",
		},
	);
}

async function mount(
	options: MountIdmappedOptions,
	ns: number,
	attributes: MountAttributes,
): Promise<Outcome> {
	const { source, target = null } = options;
	const { recursive, recursiveIdmap, set, clear, propagation } = attributes;
	const call = (sourceFd: number, path: string | null) =>
		native().mount(sourceFd, path, target, ns, recursive, recursiveIdmap, set, clear, propagation, true);
	if (typeof source === "string") return call(-1, source);
	// A copy, so that the number cannot become another file while the work waits for a thread.
	const held = native().duplicate(source);
	if (held.error < 0) return held;
	try {
		return await call(held.fd, null);
	} finally {
		native().close(held.fd);
	}
}

function mountError(options: MountIdmappedOptions, mapping: Mapping, outcome: Outcome): UsernsError {
	const source = typeof options.source === "number" ? `descriptor ${options.source}` : show(options.source);
	const target = options.target === undefined ? "" : ` at ${show(options.target)}`;
	return kernelError(
		outcome.error === ERRNO.ENOSYS ? "ERR_USERNS_UNSUPPORTED_KERNEL" : "ERR_USERNS_MOUNT",
		`cannot mount ${source}${target} with the mapping ${shorten(mapping.id)}`,
		outcome,
		{ mapping: mapping.id, hint: hints[`${outcome.step}`]?.[outcome.error] },
	);
}

const hints: Record<string, Record<number, string>> = {
	open_tree: {
		[ERRNO.EPERM]:
			"Mounting needs CAP_SYS_ADMIN in the user namespace that owns this mount namespace: root, or root in a container of its own.",
		[ERRNO.ENOENT]: "The source does not exist.",
		[ERRNO.EINVAL]:
			"The source's mount is unbindable, or has mounts below it that may only be shown together with it: try recursive.",
		[ERRNO.ENOSYS]: "ID-mapped mounts need Linux 5.12; or a seccomp filter hides open_tree(2).",
	},
	mount_setattr: {
		[ERRNO.EINVAL]:
			"The source's file system, or with recursive one of those below it, cannot be ID-mapped by this kernel (overlay, fuse, proc and others; tmpfs before Linux 6.3), or it belongs to that very user namespace.",
		[ERRNO.EPERM]:
			"The source is ID-mapped already, or its file system belongs to a user namespace in which the caller has no CAP_SYS_ADMIN, or the namespace is the initial one.",
		[ERRNO.EBUSY]: "Somebody holds a file open for writing through the copy of the mount: try again.",
		[ERRNO.ENOSYS]: "ID-mapped mounts need Linux 5.12; or a seccomp filter hides mount_setattr(2).",
	},
	target: {
		[ERRNO.ENOENT]: "Make the target first: a directory for a directory, a file for a file.",
		[ERRNO.EACCES]: "The caller may not reach the target.",
	},
	move_mount: {
		[ERRNO.ENOTDIR]: "A directory goes on a directory, and a file on a file.",
		[ERRNO.ENOENT]: "The target was removed.",
		[ERRNO.EINVAL]: "The target is not in this mount namespace, or it is a file and the source a directory.",
		[ERRNO.ELOOP]: "The target lies within the source's tree, which is unbindable or shared there.",
	},
};
