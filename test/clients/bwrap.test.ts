import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
	chmodSync,
	chownSync,
	existsSync,
	readFileSync,
	readlinkSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type MappingInput, mountIdmapped, UserNamespace } from "../../src/index.ts";
import { ask } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { owner, words } from "../support/oci-tests.ts";
import { type Ended, emptied, makeUser, privateMounts, runToEnd, USER } from "../support/private-mounts.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:bwrap"] as const;

/** A sandbox that shows the machine's own files, with `folder` at /tmp, and runs a shell script. */
function sandbox(folder: string, script: string, ...options: string[]): string[] {
	return [
		...options,
		...["--unshare-pid", "--unshare-net", "--die-with-parent"],
		...["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--bind", folder, "/tmp"],
		...["sh", "-c", script],
	];
}

const LOOK = "set -e; id -u; cat /proc/self/uid_map /proc/self/gid_map; readlink /proc/self/ns/user";

/** Runs it as root, with a namespace that root made as descriptor 3. No process may stay in the namespace. */
async function inNamespace(
	mapping: MappingInput,
	body: (inode: number, run: (command: readonly string[]) => Ended) => void,
): Promise<void> {
	const ns = await UserNamespace.create(mapping, { setgroups: "allow" });
	try {
		body(ns.inode, (command) => runToEnd([...privateMounts({}), ...command], ns.fd));
		assert.deepEqual(await emptied(ns.inode), []);
	} finally {
		ns.close();
	}
}

test("bwrap --userns 3: the sandbox has our mapping, and its files are owned on disk by it", { needs }, () =>
	withTmpfs(async (folder) => {
		const [work = ""] = mkdirs(folder, "work");
		// bwrap works as its caller, the host's root, which must have an ID in the namespace.
		await inNamespace("0:0:1,1:100001:65535", (inode, run) => {
			const script = `${LOOK}; touch /tmp/root /tmp/seven; chown 7:8 /tmp/seven`;
			const { status, stdout, stderr } = run([
				"bwrap",
				...sandbox(work, script, "--userns", "3", "--cap-add", "ALL"),
			]);
			assert.equal(status, 0, stderr);
			const map = ["0 0 1", "1 100001 65535"];
			assert.deepEqual(words(stdout), ["0", ...map, ...map, `user:[${inode}]`]);
			assert.equal(owner(join(work, "root")), "0:0");
			assert.equal(owner(join(work, "seven")), "100007:100008");
		});
	}),
);

test(
	"bwrap --userns 3: if the caller is 1000 inside, the sandbox's root is 100000 on disk",
	{
		needs: [...needs, "tool:setpriv"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [work = ""] = mkdirs(folder, "work");
			await inNamespace("0:100000:1000,1000:0:1", (inode, run) => {
				const become = "setpriv --reuid 0 --regid 0 --clear-groups touch /tmp/root";
				const script = `${LOOK}; touch /tmp/caller; chmod 777 /tmp; ${become}`;
				const { status, stdout, stderr } = run([
					"bwrap",
					...sandbox(work, script, "--userns", "3", "--cap-add", "ALL"),
				]);
				assert.equal(status, 0, stderr);
				const map = ["0 100000 1000", "1000 0 1"];
				assert.deepEqual(words(stdout), ["1000", ...map, ...map, `user:[${inode}]`]);
				assert.equal(owner(join(work, "caller")), "0:0");
				assert.equal(owner(join(work, "root")), "100000:100000");
			});
		}),
);

test(
	"bwrap --userns 3: a caller without an ID inside gets no further than the first directory",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			await inNamespace("0:100000:65536", (_, run) => {
				const { status, stderr } = run(["bwrap", ...sandbox(folder, "true", "--userns", "3")]);
				assert.notEqual(status, 0);
				assert.match(stderr, /Value too large for defined data type/);
			});
		}),
);

test("bwrap works when spawn starts it as root of a namespace in which its caller has no ID", { needs }, () =>
	withTmpfs(async (folder) => {
		const [work = ""] = mkdirs(folder, "work");
		chownSync(work, 100000, 100000);
		const ns = await UserNamespace.create("0:100000:65536", { setgroups: "allow" });
		try {
			const script = `${LOOK}; touch /tmp/root /tmp/seven; chown 7:8 /tmp/seven`;
			const child = ns.spawn("bwrap", sandbox(work, script), {
				stdio: ["ignore", "pipe", "inherit"],
				unshare: ["mount"],
				timeout: 20_000 * SLOWER,
			});
			let said = "";
			child.stdout?.on("data", (chunk) => {
				said += chunk;
			});
			const [status] = await once(child, "close");
			assert.equal(status, 0);
			const map = "0 100000 65536";
			assert.deepEqual(words(said), ["0", map, map, `user:[${ns.inode}]`]);
			assert.equal(owner(join(work, "root")), "100000:100000");
			assert.equal(owner(join(work, "seven")), "100007:100008");
			assert.deepEqual(await emptied(ns.inode), []);
		} finally {
			ns.close();
		}
	}),
);

/** For a process of an ordinary user: creates a namespace, and runs bwrap with it as descriptor 3. */
function script(mapping: string, command: readonly string[]): string {
	return `const { spawnSync } = await import("node:child_process");
	const mapping = ${mapping};
	const ns = await userns.UserNamespace.create(mapping);
	const { status, stdout, stderr } = spawnSync("bwrap", ${JSON.stringify(command)}, {
		encoding: "utf8", stdio: ["ignore", "pipe", "pipe", ns.fd], timeout: ${20_000 * SLOWER},
	});
	console.log(JSON.stringify({ inode: ns.inode, status, stdout, stderr }));
	ns.close();`;
}

test(
	"bwrap --userns 3 works without root, with the user's own and subordinate IDs",
	{
		needs: [...needs, "user", "tool:newuidmap", "tool:newgidmap"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [work = ""] = mkdirs(folder, "work");
			chownSync(work, USER.uid, USER.uid);
			const command = sandbox(
				work,
				`${LOOK}; touch /tmp/user /tmp/seven; chown 7:8 /tmp/seven`,
				...["--userns", "3", "--cap-add", "ALL"],
			);
			const { inode, status, stdout, stderr } = ask<Ended & { inode: number }>(
				script("userns.Mapping.rootless()", command),
				{ prefix: privateMounts({ user: makeUser(folder) }) },
			);
			assert.equal(status, 0, stderr);
			const map = [`0 ${USER.uid} 1`, `1 ${USER.first} ${USER.size}`];
			assert.deepEqual(words(stdout), ["0", ...map, ...map, `user:[${inode}]`]);
			assert.equal(owner(join(work, "user")), `${USER.uid}:${USER.uid}`);
			assert.equal(owner(join(work, "seven")), `${USER.first + 6}:${USER.first + 7}`);
			assert.deepEqual(await emptied(inode), []);
		}),
);

test("bwrap --userns 3 works without root and without a name, with the user's own IDs alone", {
	needs: ["linux", "tool:bwrap", ...(process.geteuid?.() === 0 ? (["user"] as const) : [])],
}, async () => {
	const root = process.geteuid?.() === 0;
	const [uid, gid] = root ? [OTHER_UID, OTHER_UID] : [process.getuid?.(), process.getgid?.()];
	const { inode, status, stdout, stderr } = ask<Ended & { inode: number }>(
		script(JSON.stringify(`u:0:${uid}:1,g:0:${gid}:1`), [
			...["--userns", "3", "--unshare-pid", "--die-with-parent"],
			...["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"],
			...["sh", "-c", `${LOOK}; touch /tmp/file; stat -c %u:%g /tmp/file`],
		]),
		root ? { uid: OTHER_UID, gid: OTHER_UID } : {},
	);
	assert.equal(status, 0, stderr);
	assert.deepEqual(words(stdout), ["0", `0 ${uid} 1`, `0 ${gid} 1`, `user:[${inode}]`, "0:0"]);
	assert.deepEqual(await emptied(inode), []);
});

/** A folder with a file of uid 1000, in a mount namespace whose root directory is writable for a moment. */
async function withVolume(
	body: (folder: string, source: string, target: string) => Promise<void>,
): Promise<void> {
	await withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		writeFileSync(join(source, "file"), "of the volume\n");
		for (const path of [source, join(source, "file")]) chownSync(path, 1000, 1000);
		await body(folder, source, target);
	});
}

/** A sandbox that shows only the machine's programs and /data, run as root, with `fd` as descriptor 3. */
function withData(bind: readonly string[], script: string, fd?: number): Ended {
	const programs = ["usr", "bin", "sbin", "lib", "lib64"].filter((name) => existsSync(`/${name}`));
	const view = programs.flatMap((name) => ["--ro-bind", `/${name}`, `/${name}`]);
	const command = ["bwrap", ...view, "--proc", "/proc", "--dev", "/dev", ...bind, "sh", "-c", script];
	return runToEnd([...privateMounts({}), ...command], fd);
}

test(
	"bwrap --bind of /proc/self/fd/3, a detached mount, binds the host's root writable, as docs/clients.md warns",
	{
		needs,
	},
	() =>
		withVolume(async (folder, source) => {
			const mount = await mountIdmapped({ source, mapping: "1000:0:1" });
			try {
				assert.equal(readlinkSync(`/proc/self/fd/${mount.fd}`), "/");
				const left = join(folder, "left");
				// What the sandbox writes below /data appears at the same path on the host.
				const script = `ls /data; echo here > /data${left}`;
				const { status, stdout, stderr } = withData(["--bind", "/proc/self/fd/3", "/data"], script, mount.fd);
				assert.equal(status, 0, stderr);
				assert.ok(!words(stdout).includes("file"));
				assert.ok(words(stdout).includes("etc"));
				assert.equal(readFileSync(left, "utf8"), "here\n");
				rmSync(left);
				// The kernel refuses a detached mount if the program does not resolve the link.
				const byFd = withData(["--bind-fd", "3", "/data"], "ls /data", mount.fd);
				assert.notEqual(byFd.status, 0);
				assert.match(byFd.stderr, /Race condition binding dirfd|Unknown option --bind-fd/);
			} finally {
				mount.close();
			}
		}),
);

test(
	"mount --bind of /proc/self/fd/3, a detached mount, binds the host's root too",
	{ needs: ["linux", "root", "mounts"] },
	() =>
		withVolume(async (_, source, target) => {
			const mount = await mountIdmapped({ source, mapping: "1000:0:1" });
			try {
				const script = 'mount --bind /proc/self/fd/3 "$0" && ls "$0"';
				const { stdout, stderr } = runToEnd([...privateMounts({}), "sh", "-c", script, target], mount.fd);
				assert.ok(words(stdout).includes("etc"), stderr);
			} finally {
				mount.close();
			}
		}),
);

test(
	"bwrap --bind of an attached mount's path binds that mount alone, and no descriptor leads out",
	{ needs },
	() =>
		withVolume(async (folder, source, target) => {
			const mount = await mountIdmapped({ source, target, mapping: "1000:2100000000:1" });
			const ns = await UserNamespace.create("0:2100000000:65536", { setgroups: "allow" });
			chownSync(folder, 0, 2_100_000_000);
			chmodSync(folder, 0o710);
			try {
				const view = ["--ro-bind", "/", "/", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"];
				const script =
					"ls -A /tmp/data; stat -c %u:%g /tmp/data/file; echo new > /tmp/data/new; ls /proc/self/fd | wc -l";
				const child = ns.spawn(
					"bwrap",
					[...view, "--cap-drop", "ALL", "--unshare-pid", "--bind", target, "/tmp/data", "sh", "-c", script],
					{ stdio: ["ignore", "pipe", "inherit"], timeout: 20_000 * SLOWER },
				);
				let said = "";
				child.stdout?.on("data", (chunk) => {
					said += chunk;
				});
				const [status] = await once(child, "close");
				assert.equal(status, 0);
				// The three standard streams, and the folder that ls reads.
				assert.deepEqual(words(said), ["file", "0:0", "4"]);
				assert.equal(statSync(join(source, "new")).uid, 1000);
				const others = spawnSync("ls", [target], { uid: OTHER_UID, gid: OTHER_UID, encoding: "utf8" });
				assert.match(others.stderr, /Permission denied/);
			} finally {
				ns.close();
				await mount.unmount();
			}
		}),
);

test(
	'the descriptor of an attached mount leads out of the sandbox by "..", as docs/clients.md warns',
	{ needs },
	() =>
		withVolume(async (folder, source, target) => {
			const mount = await mountIdmapped({ source, target, mapping: "1000:0:1" });
			writeFileSync(join(folder, "outside"), "");
			try {
				const script = "ls /data; ls /proc/self/fd/3/.. || true";
				const bound = withData(["--bind", "/proc/self/fd/3", "/data"], script, mount.fd);
				assert.deepEqual(words(bound.stdout), ["file", "outside", "source", "target"], bound.stderr);
				const byFd = withData(["--bind-fd", "3", "/data"], script, mount.fd);
				if (/Unknown option --bind-fd/.test(byFd.stderr)) return; // before bubblewrap 0.10
				assert.deepEqual(words(byFd.stdout), ["file"], byFd.stderr);
			} finally {
				await mount.unmount();
			}
		}),
);
