import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sh } from "../support/child.ts";
import { mountAt } from "../support/mounts.ts";
import type { Need } from "../support/needs.ts";
import type { Verdict } from "./oracle.ts";

/** A file system to test. It is mounted at `disk` in a folder that is a tmpfs of the tests. */
export interface FileSystem {
	name: string;
	needs: readonly Need[];
	/** It is built from a tree at `tree`, before the mount. Every write must fail with EROFS. */
	readonly?: true;
	/** It keeps no POSIX ACLs: the errno of reading one. */
	withoutAcl?: Verdict;
	/** Whether a kernel can be built without its extended attributes, so that the tests have to ask. */
	optionalXattrs?: true;
	/** The kernels that are known not to ID-map it. */
	refusal?: string;
	/** Mounts it at `folder`/disk. The returned function undoes what a recursive unmount of `folder` does not. */
	mount(folder: string): Promise<(() => Promise<void>) | undefined>;
}

const NOTHING = undefined;

/** A file system on a loop device, which mount(8) sets up to vanish with its mount (LO_FLAGS_AUTOCLEAR). */
function onImage(name: string, size: string, ...mkfs: string[]): FileSystem {
	return {
		name,
		needs: ["loop", `fs:${name}`, `tool:mkfs.${name}`],
		async mount(folder) {
			const image = join(folder, "image");
			sh("truncate", "-s", size, image);
			sh(`mkfs.${name}`, "-q", ...mkfs, image);
			sh("mount", "-t", name, "-o", "loop", image, join(folder, "disk"));
			return NOTHING;
		},
	};
}

function ofTree(name: string, tool: string, make: (tree: string, image: string) => string[]): FileSystem {
	return {
		name,
		needs: ["loop", `fs:${name}`, `tool:${tool}`],
		readonly: true,
		async mount(folder) {
			const image = join(folder, "image");
			sh(tool, ...make(join(folder, "tree"), image));
			sh("mount", "-t", name, "-o", "loop,ro", image, join(folder, "disk"));
			return NOTHING;
		},
	};
}

export const tmpfs: FileSystem = {
	name: "tmpfs",
	needs: ["fs:tmpfs"],
	async mount(folder) {
		sh("mount", "-t", "tmpfs", "userns-matrix", join(folder, "disk"));
		return NOTHING;
	},
};

/** The images are sparse. */
export const ext4: FileSystem = onImage("ext4", "1G", "-N", "131072");
export const xfs: FileSystem = onImage("xfs", "1G");
export const btrfs: FileSystem = onImage("btrfs", "1G");

export const erofs: FileSystem = ofTree("erofs", "mkfs.erofs", (tree, image) => ["-d0", image, tree]);
const squash = (tree: string, image: string) => [tree, image, "-quiet", "-no-progress"];
export const squashfs: FileSystem = {
	...ofTree("squashfs", "mksquashfs", squash),
	withoutAcl: "EOPNOTSUPP",
	optionalXattrs: true,
};

export const overlay: FileSystem = {
	name: "overlay",
	needs: ["fs:overlay"],
	refusal: "overlayfs takes ID-mapped layers, and is not to be mapped itself",
	async mount(folder) {
		for (const name of ["lower", "upper", "work"]) mkdirSync(join(folder, name));
		// The options name the files only, because a comma or a colon in the folder's path would have a meaning there.
		const options = "lowerdir=lower,upperdir=upper,workdir=work";
		const script = 'cd "$1" && mount -t overlay -o "$2" userns-matrix disk';
		sh("sh", "-c", script, "sh", folder, options);
		return NOTHING;
	},
};

/**
 * The server of a FUSE file system runs in the mount namespace of the tests. If it outlived them it would keep that
 * namespace with all its mounts, so it dies with this thread, which starts it.
 */
export const fuse: FileSystem = {
	name: "fuse",
	needs: ["fs:fuse", "tool:mksquashfs", "tool:squashfuse", "tool:setpriv"],
	readonly: true,
	withoutAcl: "ENODATA",
	refusal: "since Linux 6.12 a server may ask for it, and squashfuse does not",
	async mount(folder) {
		const [image, disk] = [join(folder, "image"), join(folder, "disk")];
		sh("mksquashfs", ...squash(join(folder, "tree"), image));
		const options = "ro,allow_other,default_permissions,suid,dev";
		const args = ["--pdeathsig", "KILL", "squashfuse", "-f", "-o", options, image, disk];
		const server = spawn("setpriv", args, { stdio: ["ignore", "ignore", "inherit"] });
		server.unref(); // it must not keep the tests from ending
		for (let i = 0; mountAt(disk) === undefined; i++) {
			if (i === 500 || server.exitCode !== null) throw new Error("squashfuse has mounted nothing");
			await sleep(10);
		}
		return () => stop(server);
	},
};

async function stop(server: ChildProcess): Promise<void> {
	if (server.exitCode !== null || server.signalCode !== null) return;
	const ended = once(server, "exit");
	server.ref();
	server.kill("SIGKILL");
	await ended;
}
