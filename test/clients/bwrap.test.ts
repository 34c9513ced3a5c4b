import assert from "node:assert/strict";
import { once } from "node:events";
import { chownSync } from "node:fs";
import { join } from "node:path";
import { type MappingInput, UserNamespace } from "../../src/index.ts";
import { apart, type Ended, emptied, makeUser, runToEnd, USER } from "../support/apart.ts";
import { ask } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { owner, words } from "../support/oci-tests.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:bwrap"] as const;

/** A sandbox of the machine's own files, with `folder` at /tmp, that runs a shell script. */
function sandbox(folder: string, script: string, ...options: string[]): string[] {
	return [
		...options,
		...["--unshare-pid", "--unshare-net", "--die-with-parent"],
		...["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--bind", folder, "/tmp"],
		...["sh", "-c", script],
	];
}

const LOOK = "set -e; id -u; cat /proc/self/uid_map /proc/self/gid_map; readlink /proc/self/ns/user";

/** Runs it as root, with a namespace that root made as descriptor 3; nobody must be left in the namespace. */
async function inNamespace(
	mapping: MappingInput,
	body: (inode: number, run: (command: readonly string[]) => Ended) => void,
): Promise<void> {
	const ns = await UserNamespace.create(mapping, { setgroups: "allow" });
	try {
		body(ns.inode, (command) => runToEnd([...apart({}), ...command], ns.fd));
		assert.deepEqual(await emptied(ns.inode), []);
	} finally {
		ns.close();
	}
}

test("bwrap --userns 3: the sandbox has our mapping, and owns on disk by it", { needs }, () =>
	withTmpfs(async (folder) => {
		const [work = ""] = mkdirs(folder, "work");
		// bwrap works as its caller, the host's root, which must have an ID inside.
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
	"bwrap --userns 3: with the caller at 1000 inside, the sandbox's root is 100000 on disk",
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

test("bwrap started by spawn: root of a namespace in which its caller has no ID", { needs }, () =>
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

/** For a process of an ordinary user: makes a namespace, and runs bwrap with it as descriptor 3. */
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
	"without root: bwrap --userns 3 with the user's own and subordinate IDs",
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
				{ prefix: apart({ user: makeUser(folder) }) },
			);
			assert.equal(status, 0, stderr);
			const map = [`0 ${USER.uid} 1`, `1 ${USER.first} ${USER.size}`];
			assert.deepEqual(words(stdout), ["0", ...map, ...map, `user:[${inode}]`]);
			assert.equal(owner(join(work, "user")), `${USER.uid}:${USER.uid}`);
			assert.equal(owner(join(work, "seven")), `${USER.first + 6}:${USER.first + 7}`);
			assert.deepEqual(await emptied(inode), []);
		}),
);

test("without root and without a name: bwrap --userns 3 with the user's own IDs alone", {
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
