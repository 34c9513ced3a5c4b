import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountIdmapped, UserNamespace, UsernsError } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { kernelFacts } from "../support/kernel-facts.ts";
import { mkdirs, mountAt } from "../support/mounts.ts";
import type { Need } from "../support/needs.ts";
import { test } from "../support/test.ts";

/*
 * Compares the package's answers about a kernel with the kernel's own answers to kernel-facts.c. The tests therefore
 * hold on every kernel, and their diagnostics are the table of docs/kernel-features.md.
 */
const needs = ["linux", "root", "mounts", "tool:cc"] as const;
const EINVAL = 22;

test("a namespace has an id if the kernel has NS_GET_ID, and everything else without it", {
	needs,
}, (t) => {
	const facts = kernelFacts();
	for (const [name, errno] of facts) t.diagnostic(`${name}: ${errno}`);
	const ns = UserNamespace.createSync("0:100000:65536");
	const own = UserNamespace.open(process.pid);
	const again = UserNamespace.open(`/proc/self/fd/${ns.fd}`);
	assert.equal(typeof ns.id, facts.get("NS_GET_ID") === 0 ? "bigint" : "undefined");
	assert.equal(ns.inode, statSync(`/proc/self/fd/${ns.fd}`).ino);
	assert.equal(again.equals(ns), true);
	assert.equal(own.equals(ns), false);
	assert.equal(own.inode, statSync("/proc/self/ns/user").ino, "with or without PIDFD_GET_USER_NAMESPACE");
	assert.equal(again.mappingSync().id, "0:100000:65536");
	const parent = again.parent();
	assert.equal(parent?.equals(own), true);
	for (const each of [ns, own, again, parent]) each?.close();
});

interface FileSystem {
	type: string;
	tools?: readonly Need[];
	/** Makes it on $image, an empty file of 400 megabytes, or mounts what it needs below $top; $empty is a folder. */
	make?: string;
	mount?: string;
}

const FILE_SYSTEMS: readonly FileSystem[] = [
	...["tmpfs", "ramfs", "hugetlbfs", "proc"].map((type) => ({ type, mount: `mount -t ${type} x "$target"` })),
	{
		type: "overlay",
		make: 'mount -t tmpfs x "$top/upper" && mkdir "$top/upper/data" "$top/upper/work"',
		mount:
			'mount -t overlay -o "lowerdir=$empty,upperdir=$top/upper/data,workdir=$top/upper/work" x "$target"',
	},
	...["ext4", "xfs", "btrfs", "vfat"].map((type) => ({
		type,
		tools: ["loop", `tool:mkfs.${type}`] as const,
		make: `mkfs.${type} "$image"`,
	})),
	{ type: "squashfs", tools: ["loop", "tool:mksquashfs"], make: 'rm "$image"; mksquashfs "$empty" "$image"' },
	{ type: "erofs", tools: ["loop", "tool:mkfs.erofs"], make: 'mkfs.erofs "$image" "$empty"' },
];

/** A fresh file system of that type, at a path that `body` gets. Returns why there is none here, or undefined. */
async function withFileSystem(
	{ type, make = "true", mount = 'mount -o loop "$image" "$target"' }: FileSystem,
	body: (folder: string) => Promise<void>,
): Promise<string | undefined> {
	const top = mkdtempSync(join(tmpdir(), "userns-facts-"));
	try {
		const [target = "", empty = ""] = mkdirs(top, "target", "empty", "upper");
		const variables = { top, target, empty, image: join(top, "image"), type };
		const made = spawnSync("sh", ["-c", `truncate -s 400M "$image"; { ${make}; } && ${mount}`], {
			encoding: "utf8",
			env: { ...process.env, ...variables },
		});
		if (/unknown filesystem type/.test(made.stderr)) return `this kernel has no ${type}`;
		assert.equal(made.status, 0, made.stderr);
		await body(target);
		return undefined;
	} finally {
		for (const name of ["mapped", "target", "upper"]) {
			const path = join(top, name);
			if (mountAt(path) !== undefined) sh("umount", path);
		}
		rmSync(top, { recursive: true });
	}
}

for (const each of FILE_SYSTEMS) {
	test(`${each.type} is ID-mapped if the kernel can, and refused with the kernel's errno if not`, {
		needs: [...needs, ...(each.tools ?? [])],
	}, async (t) => {
		const reason = await withFileSystem(each, async (source) => {
			const [target = ""] = mkdirs(join(source, ".."), "mapped");
			const facts = kernelFacts(source);
			const errno = facts.get(`idmap ${source}`);
			t.diagnostic(`${each.type}: ${errno}; with a map of one kind: ${facts.get(`half ${source}`)}`);
			const [uid, gid] = [statSync(source).uid, statSync(source).gid];
			try {
				const mount = await mountIdmapped({ source, target, mapping: "0:100000:65536" });
				assert.equal(errno, 0, "the package mounted what the kernel refuses to the probe");
				const seen = statSync(target);
				assert.deepEqual([seen.uid, seen.gid], [uid + 100000, gid + 100000]);
				await mount.unmount();
			} catch (error) {
				if (!(error instanceof UsernsError)) throw error;
				assert.equal(errno, EINVAL, error.message);
				assert.equal(error.code, "ERR_USERNS_MOUNT");
				assert.equal(error.syscall, "mount_setattr");
				assert.equal(error.errno, -EINVAL);
				assert.match(error.hint ?? "", /Map another file system|Use Linux 7\.3 or later, or map the layers/);
			}
			assert.equal(mountAt(target), undefined);
			// Kernels differ in what they do with such a namespace; the package does not ask them.
			await assert.rejects(mountIdmapped({ source, mapping: "u:0:100000:10" }), {
				code: "ERR_USERNS_INVALID_MAPPING",
			});
		});
		if (reason !== undefined) t.skip(reason);
	});
}
