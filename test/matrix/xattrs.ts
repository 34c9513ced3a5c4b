// Extended attributes as the system calls take them, in hexadecimal.

export const ACL = "system.posix_acl_access";
export const DEFAULT_ACL = "system.posix_acl_default";
export const CAPABILITY = "security.capability";

/** <linux/posix_acl_xattr.h>: a version, then tag, permissions and ID of each entry. */
export function acl(user: number, group: number): string {
	const NONE = 0xffffffff;
	const entries = [
		[0x01, 6, NONE],
		[0x02, 4, user],
		[0x04, 0, NONE],
		[0x08, 4, group],
		[0x10, 4, NONE],
		[0x20, 0, NONE],
	] as const;
	const bytes = Buffer.alloc(4 + 8 * entries.length);
	bytes.writeUInt32LE(2, 0);
	entries.forEach(([tag, permissions, id], i) => {
		bytes.writeUInt16LE(tag, 4 + 8 * i);
		bytes.writeUInt16LE(permissions, 6 + 8 * i);
		bytes.writeUInt32LE(id, 8 + 8 * i);
	});
	return bytes.toString("hex");
}

/** The mode of a file with that ACL: the mask replaces the group's bits. */
export const ACL_MODE = 0o640;

/** CAP_NET_BIND_SERVICE, which every container has as well. */
const BIT = 10;
export const CAPABILITIES: number = 2 ** BIT;

/** `struct vfs_cap_data` of <linux/capability.h>, permitted and effective; v3 has the root of a namespace. */
export function capabilities(rootid?: number): string {
	const bytes = Buffer.alloc(rootid === undefined ? 20 : 24);
	bytes.writeUInt32LE((rootid === undefined ? 0x02000000 : 0x03000000) + 1, 0);
	bytes.writeUInt32LE(CAPABILITIES, 4);
	if (rootid !== undefined) bytes.writeUInt32LE(rootid, 20);
	return bytes.toString("hex");
}

/** As the kernel writes and shows them: root 0 means v2. */
export function capabilitiesOf(rootid: number): string {
	return capabilities(rootid === 0 ? undefined : rootid);
}
