// Runs two containers at once in one user namespace from a cache. A file of uid 7 in one is a file of uid 7 in the other.
//
//   sudo node shared-namespace.js crun|runc ROOTFS
//
// ROOTFS is a root file system, for example a folder that contains bin/busybox and bin/sh. Keep it below a directory that only
// root may enter, because a set-user-ID program that a container's root creates there belongs on disk to root.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
	chmodSync,
	chownSync,
	mkdirSync,
	mkdtempSync,
	rmdirSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Handles, Mapping, mountIdmapped, type UserNamespace } from "userns";

const [runtime = "", rootfs = ""] = process.argv.slice(2);
if (rootfs === "") throw new Error("usage: shared-namespace.js crun|runc ROOTFS");
if (process.geteuid?.() !== 0) throw new Error("shared-namespace.js needs root");

const mapping = Mapping.from("0:2100000000:65536");
// A device file or a set-uid program in the folders has no effect there.
const attributes = { nodev: true, nosuid: true };

const isOldRunc = /^runc version 1\.(0\.|1\.(\d|10)\b)/.test(
	spawnSync(runtime, ["--version"], { encoding: "utf8" }).stdout,
);

/** A bundle that runs a shell script, with `shared` at /shared. */
function config(userns: string, shared: string, script: string): object {
	const capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"];
	return {
		ociVersion: "1.0.2",
		root: { path: "rootfs" },
		process: {
			user: { uid: 0, gid: 0 },
			args: ["/bin/sh", "-c", script],
			cwd: "/",
			env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
			capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
			noNewPrivileges: true,
		},
		mounts: [
			{ destination: "/proc", type: "proc", source: "proc" },
			{ destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
			{ destination: "/shared", type: "bind", source: shared, options: ["bind", "rw"] },
		],
		linux: {
			...(isOldRunc && mapping.toJSON()), // runc before 1.1.11 needs it as well as the path
			namespaces: [
				{ type: "user", path: userns },
				...["pid", "mount", "ipc", "uts", "network"].map((type) => ({ type })),
			],
		},
	};
}

const scripts = {
	one: "echo hello > /shared/new; chown 7:8 /shared/new; mv /shared/new /shared/note; while [ -e /shared/note ]; do sleep 1; done",
	two: "until [ -e /shared/note ]; do sleep 1; done; stat -c 'two sees the owner %u:%g' /shared/note; rm /shared/note",
};

const folder = mkdtempSync(join(tmpdir(), "shared-"));
// Only the root of the containers may enter their bundles.
chownSync(folder, 0, 2100000000);
chmodSync(folder, 0o710);
const shared = join(folder, "shared");
mkdirSync(shared);
chownSync(shared, 2100000000, 2100000000);

const handles = new Handles();
const undo: (() => unknown)[] = [() => rmSync(folder, { recursive: true })];
try {
	const ready: { id: string; bundle: string; namespace: UserNamespace }[] = [];
	for (const [name, script] of Object.entries(scripts)) {
		const [bundle, id] = [join(folder, name), `example-${process.pid}-${name}`];
		const root = join(bundle, "rootfs");
		mkdirSync(root, { recursive: true });
		undo.push(() => rmdirSync(root)); // fails while a mount is on it, so that no file of the mount is deleted
		// Every call with the same mapping returns a new descriptor of the same namespace.
		const namespace = await handles.get(mapping);
		undo.push(() => namespace.close());
		const mount = await mountIdmapped({
			source: resolve(rootfs),
			target: root,
			userns: namespace,
			...attributes,
		});
		undo.push(() => mount.unmount());
		// The link is for runc 1.1.11 and later, which take the mapping of the process PID for a path that begins with /proc/PID.
		const userns = join(bundle, "userns");
		symlinkSync(`/proc/${process.pid}/fd/${namespace.fd}`, userns);
		writeFileSync(join(bundle, "config.json"), JSON.stringify(config(userns, shared, script)));
		undo.push(() => spawnSync(runtime, ["delete", "--force", id], { stdio: "ignore" }));
		ready.push({ id, bundle, namespace });
	}
	process.on("SIGINT", () => {}); // Ctrl-C ends the containers; this process then cleans up
	await Promise.all(
		ready.map(async ({ id, bundle, namespace }) => {
			const [status] = await once(
				spawn(runtime, ["run", "--bundle", bundle, id], { stdio: "inherit" }),
				"exit",
			);
			if (status !== 0) throw new Error(`the container ${id} ended with status ${status}`);
			console.log(`${id} ran in the user namespace ${namespace.inode}`);
		}),
	);
} finally {
	for (const step of undo.reverse()) await step();
	handles.release();
}
