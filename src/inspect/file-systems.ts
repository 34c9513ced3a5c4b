/**
 * What to do about a file system that the kernel cannot map, by its type in mountinfo, of which only the part before a
 * dot counts: "fuse.sshfs". docs/kernel-features.md is written from it.
 */
export const FIXES: readonly [types: readonly string[], fix: string][] = [
	[["overlay"], "Map the layers of the overlay in place of it, or use Linux 7.3 or later"],
	[["9p"], "Map the directory on the host that 9p shares, because the 9p of the guest cannot be mapped"],
	[
		["virtiofs"],
		"Use Linux 6.12 or later with a virtiofsd that permits ID-mapped mounts, or map the directory on the host",
	],
	[
		["fuse", "fuseblk"],
		"Map the directory behind it, or use Linux 6.12 or later with a program of the file system that permits it",
	],
	[
		["nfs", "nfs4"],
		"Use a local file system, or change the owners on the NFS server: exports(5), all_squash and anonuid",
	],
	[["cifs", "smb3"], "Mount it with other owners: uid= and gid= of mount.cifs(8)"],
];

export function fileSystemFix(type: string): string {
	const [first = ""] = type.split(".");
	const [, fix] = FIXES.find(([types]) => types.includes(first)) ?? [];
	return fix ?? "Map a directory on another file system. Newer kernels can map more file systems";
}
