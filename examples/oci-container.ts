// Runs a container with crun or runc in a user namespace of this package. The owner of FOLDER is visible in the container as
// its root.
//
//   sudo node oci-container.js crun|runc ROOTFS FOLDER [COMMAND [ARG…]]
//
// ROOTFS is a root file system, for example a folder that contains bin/busybox. ID-mapped mounts give ROOTFS and FOLDER other
// owners in the container; no owner on disk changes. Keep both below a directory that only root may enter, because a
// set-user-ID program that the container's root creates there belongs on disk to root, or to the owner of FOLDER.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
	chmodSync,
	chownSync,
	mkdirSync,
	mkdtempSync,
	rmdirSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Mapping, mountIdmapped, UserNamespace } from "userns";

const [runtime = "", rootfs = "", folder = "", ...command] = process.argv.slice(2);
if (folder === "") throw new Error("usage: oci-container.js crun|runc ROOTFS FOLDER [COMMAND [ARG…]]");

if (process.geteuid?.() !== 0) throw new Error("oci-container.js needs root");

const mapping = Mapping.from("0:2100000000:65536");
// A device file or a set-uid program in the folders has no effect there.
const attributes = { nodev: true, nosuid: true };
const { uid, gid } = statSync(folder);
// The folder's owner on disk is visible as 2100000000, the container's root.
const ownerAsRoot = Mapping.owner({ uid, gid }, mapping);

const isOldRunc = /^runc version 1\.(0\.|1\.(\d|10)\b)/.test(
	spawnSync(runtime, ["--version"], { encoding: "utf8" }).stdout,
);

function config(userns: string, volume: string): object {
	const capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID"];
	return {
		ociVersion: "1.0.2",
		root: { path: "rootfs" },
		process: {
			user: { uid: 0, gid: 0 },
			args: command.length > 0 ? command : ["/bin/sh"],
			cwd: "/",
			env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
			capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
			noNewPrivileges: true,
		},
		mounts: [
			{ destination: "/proc", type: "proc", source: "proc" },
			{ destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
			// crun since 1.21 gives a bind mount only the attributes in its options, and not those of its source.
			{
				destination: "/data",
				type: "bind",
				source: volume,
				options: ["bind", "rw", ...Object.keys(attributes)],
			},
		],
		linux: {
			// runc before 1.1.11 needs the mapping as well as the path; later versions warn of it.
			...(isOldRunc && mapping.toJSON()),
			namespaces: [
				{ type: "user", path: userns },
				...["pid", "mount", "ipc", "uts", "network"].map((type) => ({ type })),
			],
		},
	};
}

const namespace = await UserNamespace.create(mapping);

// Only the container's root may enter the bundle, because the mounts in it give programs other owners.
const bundle = mkdtempSync(join(tmpdir(), "bundle-"));
chownSync(bundle, 0, 2100000000);
chmodSync(bundle, 0o710);
const [root, volume] = [join(bundle, "rootfs"), join(bundle, "volume")];
for (const each of [root, volume]) mkdirSync(each);
const name = `example-${process.pid}`;

try {
	const mounts = [
		await mountIdmapped({ source: resolve(rootfs), target: root, userns: namespace, ...attributes }),
	];
	try {
		mounts.push(
			await mountIdmapped({ source: resolve(folder), target: volume, mapping: ownerAsRoot, ...attributes }),
		);
		// The runtime opens the namespace by this process's descriptor. The link is for runc 1.1.11 and later, which take the mapping
		// of the process PID for a path that begins with /proc/PID.
		const userns = join(bundle, "userns");
		symlinkSync(`/proc/${process.pid}/fd/${namespace.fd}`, userns);
		writeFileSync(join(bundle, "config.json"), JSON.stringify(config(userns, volume)));
		process.on("SIGINT", () => {}); // Ctrl-C ends the container; this process then cleans up
		const [status] = await once(
			spawn(runtime, ["run", "--bundle", bundle, name], { stdio: "inherit" }),
			"exit",
		);
		process.exitCode = status ?? 1;
	} finally {
		spawnSync(runtime, ["delete", "--force", name], { stdio: "ignore" });
		for (const mount of mounts.reverse()) await mount.unmount();
	}
} finally {
	namespace.close();
	// rmdir(2) fails if an unmount failed, and then rmSync() deletes no file of a mount.
	for (const each of [root, volume]) rmdirSync(each);
	rmSync(bundle, { recursive: true });
}
