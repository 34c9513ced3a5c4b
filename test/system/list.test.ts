import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ListedNamespace, list, mountIdmapped, pin, UserNamespace } from "../../src/index.ts";
import { root, runScript, sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { type Held, HOLDING, holding } from "../support/holding.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID, olderThan } from "../support/needs.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

const LISTNS = olderThan("6.19") === undefined;
/** The ways in which hold-namespaces.c holds a namespace that only listns(2) reports. */
const BY_LISTNS = ["flight"];
/** For each of its eight ways. */
const EACH = 125;

/** What list() must report as the holders of a namespace, from the way alone. */
function checkHolders(
	{ way, number, inode }: Held,
	found: ListedNamespace,
	holder: number,
	all: ListedNamespace[],
): void {
	const words = `${way} ${inode}`;
	const { processes, holders } = found;
	assert.deepEqual(processes, way === "process" || way === "zombie" ? [number] : [], words);
	const kinds = [...new Set(holders.map(({ kind }) => kind))];
	if (way === "descriptor")
		assert.deepEqual(holders, [{ kind: "descriptor", pid: holder, fd: number }], words);
	else if (way.startsWith("mount")) {
		assert.deepEqual(kinds, ["mount"], words);
		// A process of a mount namespace can be any of it, so the mount is compared by its path.
		const paths = holders.map((each) => (each.kind === "mount" ? each.path : ""));
		assert.equal(new Set(paths).size, 1, words);
		const pids = holders.map((each) => (each.kind === "mount" ? each.pid : 0));
		if (way === "mount-elsewhere") assert.deepEqual(pids, [number], words);
	} else if (way === "child") {
		const inner = all.find(({ parentInode }) => parentInode === inode);
		assert.deepEqual(inner?.processes, [number], words);
		assert.deepEqual(holders, [{ kind: "child", inode: inner?.inode }], words);
	} else if (way === "other") {
		const name = readlinkSync(`/proc/${holder}/fd/${number}`);
		assert.match(name, /^uts:/);
		assert.deepEqual(holders, [{ kind: "namespace", name }], words);
	} else assert.deepEqual(holders, [], words);
}

test("list finds a thousand namespaces that are held in eight ways, and nothing after their end", {
	needs: HOLDING,
	timeout: 240_000,
}, async () => {
	const own = Number(/\d+/.exec(readlinkSync("/proc/self/ns/user"))?.[0]);
	const before = new Set((await list()).namespaces.map(({ inode }) => inode));
	let inodes: number[] = [];
	await holding(EACH, async (held, holder) => {
		const { namespaces, unseen } = await list();
		const byInode = new Map(namespaces.map((each) => [each.inode, each]));
		const inner = namespaces.filter(({ parentInode }) => held.some(({ inode }) => inode === parentInode));
		assert.equal(inner.length, EACH); // those below the namespaces of the way "child"
		inodes = [...held, ...inner].map(({ inode }) => inode);
		const expected = held.filter(({ way }) => LISTNS || !BY_LISTNS.includes(way));
		const found = held.filter(({ inode }) => byInode.has(inode));
		assert.deepEqual(found, expected);
		for (const each of expected) {
			const listed = byInode.get(each.inode) as ListedNamespace;
			assert.equal(listed.parentInode, own);
			assert.equal(listed.ownerUid, 0);
			assert.equal(String(listed.mapping), each.map);
			assert.equal(listed.setgroups, "allow");
			checkHolders(each, listed, holder, namespaces);
		}
		const missing = unseen.filter((sentence) => /Linux 6\.19/.test(sentence));
		assert.equal(missing.length, LISTNS ? 0 : 1, unseen.join("\n"));
		compareWithLsns(namespaces, new Set(inodes));
	});
	// The kernel removes the namespaces a moment after their holders.
	for (let i = 0; ; i++) {
		const left = (await list()).namespaces
			.map(({ inode }) => inode)
			.filter((inode) => inodes.includes(inode) && !before.has(inode));
		if (left.length === 0) break;
		assert.ok(i < 300, `${left.length} namespaces still exist`);
		await sleep(100);
	}
});

/** lsns(8) of util-linux lists the namespaces of processes, and newer versions more. */
function compareWithLsns(namespaces: readonly ListedNamespace[], inodes: ReadonlySet<number>): void {
	const args = ["--json", "--type", "user", "--output", "NS,NPROCS,PID"];
	const { stdout, status } = spawnSync("lsns", args, { encoding: "utf8", maxBuffer: 1 << 26 });
	assert.equal(status, 0);
	const rows = (JSON.parse(stdout) as { namespaces: { ns: number; nprocs: number; pid: number }[] })
		.namespaces;
	const ours = new Map(namespaces.map((each) => [each.inode, each]));
	const theirs = rows.filter(({ ns }) => inodes.has(Number(ns)));
	assert.ok(theirs.length >= 2 * EACH); // "process", and the inner namespaces of "child"
	for (const { ns, nprocs, pid } of theirs) {
		const processes = ours.get(Number(ns))?.processes ?? [];
		assert.equal(processes.length, Number(nprocs), `${ns}`);
		if (Number(nprocs) > 0) assert.equal(processes[0], Number(pid));
	}
	const withProcesses = [...ours.values()].filter(
		({ inode, processes }) => inodes.has(inode) && processes.length > 0,
	);
	for (const { inode } of withProcesses)
		assert.ok(
			theirs.some(({ ns }) => Number(ns) === inode),
			`${inode}`,
		);
}

test("list: owner and pid select namespaces", { needs: HOLDING }, () =>
	holding(2, async (held, holder) => {
		const inner = (await list({ owner: 3000000 + held.findIndex(({ way }) => way === "child") })).namespaces;
		assert.equal(inner.length, 1);
		const outer = held.find(({ inode }) => inode === inner[0]?.parentInode) as Held;
		assert.equal(outer.way, "child");
		const chain = (await list({ pid: outer.number })).namespaces;
		const own = Number(/\d+/.exec(readlinkSync("/proc/self/ns/user"))?.[0]);
		assert.deepEqual(chain.map(({ inode }) => inode).sort(), [inner[0]?.inode, outer.inode, own].sort());
		assert.deepEqual(
			(await list({ pid: holder })).namespaces.map(({ inode }) => inode),
			[own],
		);
		assert.deepEqual((await list({ pid: outer.number, owner: 4_000_000 })).namespaces, []);
	}),
);

test(
	"list: an ID-mapped mount with the namespace's map is listed, and does not hold it since Linux 6.8",
	{
		needs: ["linux", "root", "mounts", "linux:6.15"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const namespace = UserNamespace.createSync("0:3000000:7");
			const { inode } = namespace;
			const mount = await mountIdmapped({ source, target, userns: namespace });
			const seen = async () => (await list()).namespaces.find((each) => each.inode === inode);
			const listed = await seen();
			assert.deepEqual(
				listed?.holders.map((each) => each.kind === "descriptor" && each.pid),
				[process.pid],
			);
			assert.ok(listed?.mounts.some(({ path }) => path === target));
			namespace.close();
			for (let i = 0; (await seen()) !== undefined; i++) {
				assert.ok(i < 300, "the namespace still exists");
				await sleep(100);
			}
			await mount.unmount();
		}),
);

test(
	"list finds a descriptor that was opened at a pinned file, also if another file hides that one",
	{
		needs: ["linux", "root", "private-mounts", "ids", "linux:5.8"],
	},
	() =>
		withTmpfs(async (folder) => {
			const path = join(folder, "pinned");
			const made = UserNamespace.createSync("0:3000000:9");
			const { inode } = made;
			pin(made, path);
			made.close();
			const holdersOf = async () =>
				(await list()).namespaces.find((each) => each.inode === inode)?.holders ?? [];
			const mounts = (holders: ListedNamespace["holders"]) =>
				holders.filter((each) => each.kind === "mount" && each.path === path).length;
			const fds = (holders: ListedNamespace["holders"]) =>
				holders.flatMap((each) => (each.kind === "descriptor" ? [`${each.pid} ${each.fd}`] : [])).sort();
			assert.deepEqual(fds(await holdersOf()), [], "the control: only the mount holds it");
			const opened = UserNamespace.open(path);
			// One in another mount namespace, and an ordinary file at the same path in a third.
			const unshared = (before: string) =>
				spawn(
					"unshare",
					[
						...["--mount", "--propagation", "private", "bash", "-c"],
						...[`${before}; exec 7< "$1"; echo; read line`, "bash", path],
					],
					{ stdio: ["pipe", "pipe", "inherit"] },
				);
			const other = unshared(":");
			const stranger = unshared('mount --bind /etc/passwd "$1"');
			try {
				await Promise.all([once(other.stdout, "data"), once(stranger.stdout, "data")]);
				const expected = [`${process.pid} ${opened.fd}`, `${other.pid} 7`].sort();
				const both = await holdersOf();
				assert.deepEqual([fds(both), mounts(both)], [expected, 3]);
				sh("mount", "--bind", "/etc/passwd", path);
				for (const child of [other, stranger]) {
					const closed = once(child, "close");
					child.kill("SIGKILL");
					await closed;
				}
				// No path leads to it any more.
				const last = await holdersOf();
				assert.deepEqual([fds(last), mounts(last)], [[`${process.pid} ${opened.fd}`], 1]);
				opened.close();
				const { namespaces, unseen } = await list();
				assert.equal(
					namespaces.some((each) => each.inode === inode),
					LISTNS,
				);
				assert.equal(
					unseen.some((each) => each.includes(`user:[${inode}] at ${path}`)),
					!LISTNS,
				);
				sh("umount", path);
			} finally {
				for (const child of [other, stranger]) child.kill("SIGKILL");
			}
		}),
);

test(
	"list does not ask the file system of a descriptor with the path of a pinned file",
	{
		needs: ["linux", "root", "private-mounts", "ids", "tool:cc", "fs:fuse", "linux:5.8"],
		timeout: 60_000,
	},
	() =>
		withTmpfs(async (folder) => {
			const path = join(folder, "pinned");
			const tools = mkdtempSync(join(tmpdir(), "userns-list-"));
			const program = join(tools, "silent-fs");
			sh("cc", "-O2", "-o", program, join(root, "test/support/programs/silent-fs.c"));
			const made = UserNamespace.createSync("0:3000000:9");
			pin(made, path);
			// In another mount namespace, a file system that does not answer is at that path, and a descriptor leads to it.
			const script = `mount -t tmpfs none "$1" && mkdir "$1/pinned" && exec "$2" "$1/pinned" open`;
			const args = ["--mount", "--propagation", "private", "sh", "-c", script, "sh", folder, program];
			const child = spawn("unshare", args, { stdio: ["ignore", "pipe", "inherit"] });
			try {
				await once(child.stdout, "data");
				const links = readdirSync(`/proc/${child.pid}/fd`).map((fd) =>
					readlinkSync(`/proc/${child.pid}/fd/${fd}`),
				);
				assert.ok(links.includes(path), links.join());
				const { namespaces } = await list();
				const found = namespaces.find(({ inode }) => inode === made.inode);
				assert.deepEqual(
					found?.holders.flatMap((each) => (each.kind === "descriptor" ? [each.pid] : [])),
					[process.pid],
				);
			} finally {
				const closed = once(child, "close");
				child.kill("SIGKILL");
				await closed;
				made.close();
				sh("umount", path);
				rmSync(tools, { recursive: true });
			}
		}),
);

test("list: an ordinary user sees the user's own namespaces, and the number of processes that cannot be examined", {
	needs: ["linux", "root", "user"],
}, () => {
	const script = `const own = userns.UserNamespace.createSync("0:${OTHER_UID}:1");
		const { namespaces, unseen } = await userns.list();
		const found = namespaces.find(({ inode }) => inode === own.inode);
		console.log(JSON.stringify([found?.ownerUid, String(found?.mapping), found?.holders.length, unseen]));`;
	const { stdout, stderr } = runScript(script, { uid: OTHER_UID, gid: OTHER_UID });
	assert.equal(stderr, "");
	const [owner, map, holders, unseen] = JSON.parse(stdout) as [number, string, number, string[]];
	assert.deepEqual([owner, map, holders], [OTHER_UID, `0:${OTHER_UID}:1`, 1]);
	assert.match(unseen.join("\n"), /^Processes that the caller may not examine: [1-9]\d*\.$/m);
});

test("list: processes that end during the listing are no error", {
	needs: ["linux"],
	timeout: 120_000,
}, async () => {
	const loop = "while :; do /bin/true & /bin/true & /bin/true & wait; done";
	const child = spawn("sh", ["-c", loop], { stdio: "ignore" });
	try {
		// Until a process that was in /proc at its start has ended at its end, some times.
		for (let met = 0, i = 0; met < 20; i++) {
			const { namespaces } = await list();
			const pids = namespaces.flatMap(({ processes }) => processes);
			if (pids.some((pid) => !isAlive(pid))) met++;
			assert.ok(i < 10_000);
		}
	} finally {
		const closed = once(child, "close");
		child.kill("SIGKILL");
		await closed;
	}
});

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
}

test("list takes less than a second of processor time for 10,000 processes", {
	needs: ["linux", "root", "tool:cc", "long"],
	timeout: 120_000,
}, async () => {
	const code = `#include <signal.h>
		#include <stdio.h>
		#include <sys/prctl.h>
		#include <unistd.h>
		int main(void) {
			for (int i = 0; i < 10000; i++) {
				pid_t child = fork();
				if (child < 0) return 1;
				if (child == 0) { prctl(PR_SET_PDEATHSIG, SIGKILL); for (;;) pause(); }
			}
			puts("ready");
			fflush(stdout);
			for (;;) pause();
		}`;
	const folder = mkdtempSync(join(tmpdir(), "userns-many-"));
	const program = join(folder, "many");
	execFileSync("cc", ["-O1", "-x", "c", "-o", program, "-"], { input: code });
	const child = spawn(program, { stdio: ["ignore", "pipe", "inherit"] });
	const closed = once(child, "close");
	try {
		await once(child.stdout, "data");
		const script = `const { namespaces } = await userns.list();
			const { user, system } = process.cpuUsage();
			const most = Math.max(...namespaces.map(({ processes }) => processes.length));
			console.log(JSON.stringify([most, (user + system) / 1e6]));`;
		const [most = 0, seconds = 9] = JSON.parse(runScript(script).stdout) as number[];
		const [, alone = 0] = JSON.parse(
			runScript(script.replace("await userns.list()", "{ namespaces: [] }")).stdout,
		) as number[];
		assert.ok(most >= 10_000, `${most}`);
		assert.ok(seconds - alone < SLOWER, `${seconds} s, and ${alone} s without the call`);
	} finally {
		child.kill("SIGKILL");
		await closed;
		rmSync(folder, { recursive: true });
	}
});

test("list checks its options before any system call", { needs: ["linux"] }, async () => {
	const wrong = [{ owner: -1 }, { owner: "0" }, { owner: 2 ** 32 }, { pid: 0 }, { pid: "1" }, { user: 0 }, 7];
	for (const options of wrong) {
		await assert.rejects(list(options as never), failure("ERR_USERNS_INVALID_ARGUMENT", /^list: /));
	}
	const { stdout } = spawnSync("sh", ["-c", "echo $$"], { encoding: "utf8" });
	await assert.rejects(list({ pid: Number(stdout) }), failure("ERR_USERNS_OPEN", /of process \d+/));
});
