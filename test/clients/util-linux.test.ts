import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { list, Mapping, pin, UserNamespace, unmount } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { HOLDING, holding } from "../support/holding.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { owner, words } from "../support/oci-tests.ts";
import { emptied, makeUser, privateMounts, processesIn, runToEnd, USER } from "../support/private-mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const MAP = "u:0:100000:65536,g:0:200000:65536";

/** A namespace of MAP that is pinned at a path. No other reference holds it. */
async function withPinned(body: (path: string, inode: number, folder: string) => Promise<void> | void) {
	await withTmpfs(async (folder) => {
		const path = join(folder, "pinned");
		const ns = await UserNamespace.create(MAP, { setgroups: "allow" });
		const { inode } = ns;
		pin(ns, path);
		ns.close();
		try {
			await body(path, inode, folder);
		} finally {
			unmount(path);
		}
		assert.deepEqual(await emptied(inode), []);
	});
}

/** Whether the programs of util-linux have at least that version. */
function isSince(wanted: number): boolean {
	const [major = 0, minor = 0] = (/ (\d+)\.(\d+)/.exec(sh("mount", "--version")) ?? []).slice(1).map(Number);
	return major > 2 || (major === 2 && minor >= wanted);
}

test("mount -o X-mount.idmap takes a pinned namespace, from util-linux 2.39 on", { needs }, (t) =>
	withPinned((path, _, folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		writeFileSync(join(source, "file"), "");
		chownSync(join(source, "file"), 7, 8);
		const version = sh("mount", "--version");
		sh("mount", "--bind", "-o", `X-mount.idmap=${path}`, source, target);
		const isMapped = mountAt(target)?.options.includes("idmapped");
		if (isSince(39)) {
			assert.ok(isMapped, version);
			assert.equal(owner(join(target, "file")), "100007:200008");
		} else {
			// Older versions ignore unknown X-… options: they mount without a map and print nothing.
			assert.equal(isMapped, false, version);
			assert.equal(owner(join(target, "file")), "7:8");
			t.diagnostic(`X-mount.idmap has no effect in ${version.trim()}`);
		}
		sh("umount", target);
	}),
);

test(
	"nsenter enters a pinned namespace, by its path and by its descriptor",
	{ needs: [...needs, "tool:nsenter"] },
	() =>
		withPinned((path, inode, folder) => {
			const script = 'id -u; id -g; readlink /proc/self/ns/user; : > "$1"';
			const ns = UserNamespace.open(path);
			for (const [name, where] of [
				["by-path", path],
				["by-descriptor", "/proc/self/fd/3"],
			] as const) {
				const file = join(folder, name);
				const enter = ["nsenter", `--user=${where}`, "--setuid", "5", "--setgid", "6"];
				const { status, stdout, stderr } = runToEnd([...enter, "sh", "-c", script, "sh", file], ns.fd);
				assert.equal(status, 0, stderr);
				assert.deepEqual(words(stdout), ["5", "6", `user:[${inode}]`]);
				assert.equal(owner(file), "100005:200006");
			}
			ns.close();
		}),
);

test(
	"lsns shows the same inode for a process in the namespace",
	{
		needs: [...needs, "tool:lsns"],
	},
	() =>
		withPinned(async (path, inode) => {
			const lsns = () =>
				words(sh("lsns", "--type", "user", "--noheadings", "--output", "NS,NPROCS,PID")).filter((line) =>
					line.startsWith(`${inode} `),
				);
			const ns = UserNamespace.open(path);
			const child = ns.spawn("cat", { stdio: ["pipe", "ignore", "inherit"] });
			try {
				while (processesIn(inode).length === 0) await sleep(5);
				assert.deepEqual(lsns(), [`${inode} 1 ${child.pid}`]);
			} finally {
				child.kill("SIGKILL");
				await once(child, "exit");
				ns.close();
			}
		}),
);

test(
	"lsns lists a namespace that is only pinned, from util-linux 2.42 on",
	{ needs: [...needs, "tool:lsns"] },
	() =>
		withPinned((_, inode) => {
			const list = words(sh("lsns", "--type", "user", "--noheadings", "--output", "NS"));
			assert.equal(list.includes(String(inode)), isSince(42));
		}),
);

test(
	"list finds each namespace that lsns finds, which are those of processes, and from 2.42 on of descriptors and mounts",
	{ needs: [...HOLDING, "tool:lsns"] },
	() =>
		holding(5, async (held) => {
			const { namespaces } = await list();
			const ours = new Set(namespaces.map(({ inode }) => inode));
			const theirs = new Set(
				words(sh("lsns", "--type", "user", "--noheadings", "--output", "NS")).map(Number),
			);
			const waysOf = (inodes: ReadonlySet<number>) => [
				...new Set(held.filter(({ inode }) => inodes.has(inode)).map(({ way }) => way)),
			];
			const found = ["process", "zombie", ...(isSince(42) ? ["descriptor", "mount"] : [])];
			if (isSince(42) || !isSince(39)) assert.deepEqual(waysOf(theirs).sort(), found.sort());
			for (const { way, inode } of held) if (theirs.has(inode)) assert.ok(ours.has(inode), way);
			const all = [...found, "descriptor", "mount", "mount-elsewhere", "child", "other"];
			const byListns = olderThan("6.19") === undefined ? ["flight"] : [];
			assert.deepEqual(waysOf(ours).sort(), [...new Set([...all, ...byListns])].sort());
		}),
);

test("unshare --map-users as root calls newuidmap, and writes the mapping itself from util-linux 2.42 on", {
	needs: [...needs, "tool:unshare", "tool:newuidmap", "tool:newgidmap"],
}, () => {
	// No test machine gives this range to root.
	const run = (...fields: string[]) =>
		runToEnd([
			...["unshare", "--user", `--map-users=${fields.join()}`, `--map-groups=${fields.join()}`],
			...["cat", "/proc/self/uid_map"],
		]);
	const { status, stdout, stderr } = run("2100000000", "0", "65536");
	if (isSince(42)) assert.deepEqual([status, words(stdout)], [0, ["0 2100000000 65536"]], stderr);
	else if (!isSince(39)) assert.match(stderr, /newuidmap: uid range .* not allowed/);
	const colons = run("0:2100000000:65536");
	if (isSince(42)) assert.deepEqual(words(colons.stdout), ["0 2100000000 65536"], colons.stderr);
	else if (!isSince(39)) assert.notEqual(colons.status, 0);
});

/** Starts unshare(1) with a program that waits. Resolves when its maps are written. */
async function unshared(
	prefix: readonly string[],
	options: readonly string[],
): Promise<[ChildProcess, number]> {
	const [program = "", ...args] = [
		...prefix,
		"unshare",
		"--user",
		...options,
		"sh",
		"-c",
		"echo $$; exec cat",
	];
	const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
	const [said] = (await once(child.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
	return [child, Number(said.toString())];
}

/** Opens by pid, by path and as a bare descriptor, each time with a new object that has no cached mapping. */
async function readBack(pid: number, asked: Mapping, setgroups: string, uid: number): Promise<number> {
	const byPid = UserNamespace.open(pid);
	const byPath = UserNamespace.open(`/proc/${pid}/ns/user`);
	const bare = UserNamespace.open(`/proc/self/fd/${byPath.fd}`);
	const { inode } = byPid;
	assert.equal(inode, statSync(`/proc/${pid}/ns/user`).ino);
	for (const ns of [byPid, byPath, bare]) {
		assert.ok(ns.equals(byPid));
		assert.equal((await ns.mapping()).toString(), asked.toString());
		assert.equal(await ns.setgroups(), setgroups);
		assert.equal(ns.ownerUid(), uid);
	}
	for (const ns of [byPid, byPath, bare]) ns.close();
	return inode;
}

/** What unshare(1) creates with these options, and what this package must read back. */
async function unshareAndRead(
	prefix: readonly string[],
	options: readonly string[],
	asked: string,
	setgroups: string,
	uid: number,
): Promise<void> {
	const [child, pid] = await unshared(prefix, options);
	let inode = 0;
	try {
		inode = await readBack(pid, Mapping.from(asked), setgroups, uid);
	} finally {
		child.kill("SIGKILL");
		await once(child, "close");
	}
	assert.deepEqual(await emptied(inode), []);
}

test(
	"open and mapping read a namespace that unshare made for an ordinary user",
	{
		needs: [...needs, "user", "tool:unshare", "tool:newuidmap", "tool:newgidmap"],
	},
	() =>
		withTmpfs(async (folder) => {
			const prefix = privateMounts({ user: makeUser(folder) });
			const { uid, first } = USER;
			// unshare 2.38 takes outer,inner,count.
			await unshareAndRead(
				prefix,
				[`--map-users=${first + 10},1,200`, `--map-groups=${first},1,500`, "--map-root-user"],
				`u:0:${uid}:1,u:1:${first + 10}:200,g:0:${uid}:1,g:1:${first}:500`,
				"allow",
				uid,
			);
			await unshareAndRead(prefix, ["--map-current-user"], `${uid}:${uid}:1`, "deny", uid);
		}),
);

test("open and mapping read a namespace that unshare made for root", {
	needs: [...needs, "tool:unshare"],
}, async () => {
	await unshareAndRead([], ["--map-root-user"], "0:0:1", "deny", 0);
	await unshareAndRead([], ["--map-user=4711", "--map-group=4712"], "u:4711:0:1,g:4712:0:1", "deny", 0);
});
