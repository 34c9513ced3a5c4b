import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { type MountInfo, mountIdmapped, mounts, mountsAsync, supports, unmount } from "../../src/index.ts";
import { findMount, mountsBelow } from "../../src/mount/find-mount.ts";
import { openMountNamespace } from "../../src/mount/mount-namespace.ts";
import { descendants, type MountEntry, parseMountinfo, readIn } from "../../src/mount/mountinfo.ts";
import { native, type Outcome, WALK_END, WALK_LINKS } from "../../src/native/addon.ts";
import { runSync } from "../../src/native/operation.ts";
import { ask, root, sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { failure } from "../support/errors.ts";
import { freshType, mkdirs, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const hostile = [...needs, "user", "tool:cc"] as const;
const O_PATH = 0x200000;

let tools: string | undefined;
after(() => {
	if (tools !== undefined) rmSync(tools, { recursive: true });
});

/**
 * A user's mount table with this many mounts on a path of this many directories, in a mount namespace of the user's
 * own.
 */
async function withMany(
	[depth, count]: [depth: number, count: number],
	body: (pid: number, data: string) => Promise<void>,
): Promise<void> {
	if (tools === undefined) {
		tools = mkdtempSync(join(tmpdir(), "userns-many-"));
		sh("cc", "-O2", "-o", join(tools, "many-mounts"), join(root, "test/support/programs/many-mounts.c"));
		chmodSync(tools, 0o755);
	}
	const folder = mkdtempSync(join(tmpdir(), "userns-table-"));
	chmodSync(folder, 0o755);
	const child: ChildProcess = spawn(join(tools, "many-mounts"), [folder, `${depth}`, `${count}`], {
		stdio: ["pipe", "pipe", "inherit"],
		uid: OTHER_UID,
		gid: OTHER_UID,
	});
	const closed = once(child, "close");
	try {
		const said = once(child.stdout as NonNullable<typeof child.stdout>, "data");
		const [words] = await Promise.race([said, closed.then(() => ["it ended"])]);
		assert.equal(`${words}`, "ready\n");
		await body(child.pid as number, join(folder, "data"));
	} finally {
		child.kill("SIGKILL");
		await closed;
		rmSync(folder, { recursive: true });
	}
}

/** How many chunks of a table are read meanwhile. */
async function piecesRead(body: () => unknown): Promise<number> {
	const surface = native();
	const { readPiece } = surface;
	let pieces = 0;
	surface.readPiece = ((...args: Parameters<typeof readPiece>) => {
		pieces++;
		return readPiece(...args);
	}) as typeof readPiece;
	try {
		await body();
	} finally {
		surface.readPiece = readPiece;
	}
	return pieces;
}

const LARGE = failure(
	"ERR_USERNS_READ_MOUNTS",
	/the mountinfo of process \d+ has more than 33554432 bytes, the limit of this package$/,
);

test(
	"a mount table of more than 32 MiB is refused, on the calling thread and on another one",
	{ needs: hostile },
	() =>
		// 64 bytes and, for root and mount point, 15 names of 255 bytes with four characters for each.
		withMany([15, 1200], async (pid) => {
			const descriptors = readdirSync("/proc/self/fd").length;
			assert.ok(readFileSync(`/proc/${pid}/mountinfo`).length > 32 << 20);
			assert.throws(() => mounts({ pid }), LARGE);
			await assert.rejects(mountsAsync({ pid }), LARGE);
			const [error] = await Promise.allSettled([mountsAsync({ pid })]);
			assert.match(error.status === "rejected" ? error.reason.hint : "", /too many/);
			assert.equal(readdirSync("/proc/self/fd").length, descriptors);
		}),
);

test(
	"attach, supports and unmount work although the table is too large, because they query single mounts",
	{ needs: [...hostile, "linux:6.15"] },
	() =>
		withMany([15, 1200], (pid, data) =>
			withTmpfs(async (folder) => {
				const [source = "", submount = ""] = mkdirs(folder, "source", "source/sub");
				sh("mount", "-t", "tmpfs", "sub", submount);
				const tail = () => readFileSync(`/proc/${pid}/mountinfo`, "latin1").split("\n").slice(-3);
				const before = tail();
				const pieces = await piecesRead(async () => {
					const held = await mountIdmapped({ source, target: data, mapping: "0:1:65536", into: pid });
					await held.unmount();
					assert.deepEqual(tail(), before);
					(await mountIdmapped({ source, target: data, mapping: "0:1:65536", into: pid })).close();
					assert.notDeepEqual(tail(), before);
					assert.equal(unmount(data, { into: pid }).kind, "idmapped mount");
					assert.deepEqual(tail(), before);
					assert.equal((await supports(source)).supported, true);
				});
				assert.equal(pieces, 0);
				// A recursive mount reads the caller's whole tree; a query finds the attached mount.
				const tree = await mountIdmapped({
					source,
					target: data,
					mapping: "0:1:65536",
					into: pid,
					recursive: true,
				});
				await tree.unmount();
				assert.deepEqual(tail(), before);
				sh("umount", submount);
			}),
		),
);

test("mountsAsync never blocks the event loop for half of the time", { needs: hostile }, () =>
	withMany([15, 900], async (pid) => {
		let turns = 0;
		let longest = 0;
		let last = performance.now();
		let running = true;
		const turn = () => {
			const now = performance.now();
			longest = Math.max(longest, now - last);
			last = now;
			turns++;
			if (running) setImmediate(turn);
		};
		const start = performance.now();
		setImmediate(turn);
		const found = await mountsAsync({ pid });
		running = false;
		const all = performance.now() - start;
		assert.ok(found.length > 900);
		assert.equal(found.at(-1)?.mountPoint.replaceAll(" ", "").endsWith("/m1"), true);
		assert.ok(turns > 100, `${turns} turns`);
		assert.ok(longest < all / 2, `${longest} of ${all} milliseconds`);
	}),
);

test("a mount table that the kernel does not write within the time limit is refused", { needs }, async () => {
	const { now } = performance;
	let time = now.call(performance);
	performance.now = () => {
		time += 11_000;
		return time;
	};
	try {
		assert.throws(() => mounts(), failure("ERR_USERNS_READ_MOUNTS", /did not write \S+ within 3 seconds/));
		await assert.rejects(
			mountsAsync(),
			failure("ERR_USERNS_READ_MOUNTS", /did not write \S+ within 10 seconds/),
		);
	} finally {
		performance.now = now;
	}
});

test(
	"without statmount and listmount, the mount table is searched up to the same limit",
	{ needs: hostile },
	() =>
		withMany([15, 1200], (pid, data) =>
			withTmpfs((folder) => {
				const deny = join(folder, "deny");
				sh("cc", "-O2", "-o", deny, join(root, "test/support/programs/deny.c"));
				const [source = "", target = ""] = mkdirs(folder, "source", "target");
				const before = readFileSync("/proc/self/mountinfo", "utf8");
				const answer = ask<{ kind: string; fsType: string; refused: Record<string, string>[] }>(
					`const [source, target, data, pid] = ${JSON.stringify([source, target, data, pid])};
				const base = { source, mapping: "0:1:65536" };
				(await userns.mountIdmapped({ ...base, target })).close();
				const { kind } = userns.unmount(target);
				const mount = await userns.mountIdmapped({ ...base, target, propagation: "shared" });
				await mount.unmount();
				const { fsType } = await userns.supports(source);
				const held = await userns.mountIdmapped({ ...base, target: data, into: pid });
				const refused = [await held.unmount().catch((e) => e)];
				try { userns.mounts({ pid }); } catch (e) { refused.push(e); }
				refused.push(await userns.mountsAsync({ pid }).catch((e) => e));
				held.close();
				console.log(JSON.stringify({ kind, fsType, refused }));`,
					{ prefix: [deny, "457,458"] },
				);
				assert.equal(answer.kind, "idmapped mount");
				assert.equal(answer.fsType, freshType());
				assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
				// The mount is the last line of the table, which is beyond the limit: it stays, and the error says why.
				const codes = ["ERR_USERNS_UNMOUNT", "ERR_USERNS_READ_MOUNTS", "ERR_USERNS_READ_MOUNTS"];
				assert.deepEqual(
					answer.refused.map(({ code }) => code),
					codes,
				);
				for (const { message } of answer.refused) assert.match(message ?? "", /more than 33554432 bytes/);
			}),
		),
);

function withoutOrder(list: readonly MountInfo[]): unknown {
	return JSON.parse(JSON.stringify(list));
}

test(
	"mountsAsync returns the same as mounts, for this process and for a container",
	{
		needs: [...needs, "tool:unshare"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "a b\\\n\u20ac");
			const mount = await mountIdmapped({ source, target, mapping: "u:0:100000:10,g:5:6:7" });
			const container = await startContainer(folder, "pivot", "0:100000:65536");
			try {
				for (const options of [
					undefined,
					{},
					{ idmapped: true },
					{ pid: container.pid },
					{ pid: process.pid },
				]) {
					assert.deepEqual(withoutOrder(await mountsAsync(options)), withoutOrder(mounts(options)));
				}
				assert.equal((await mountsAsync({ idmapped: true })).at(-1)?.mountPoint, target);
			} finally {
				await container.end();
				await mount.unmount();
			}
			await assert.rejects(mountsAsync({ pid: 2147483647 }), failure("ERR_USERNS_READ_MOUNTS", /ESRCH/));
			for (const wrong of [{ pid: 0 }, { pid: "1" }, { idmapped: 1 }, { all: true }, 5]) {
				await assert.rejects(
					mountsAsync(wrong as never),
					failure("ERR_USERNS_INVALID_ARGUMENT", /mountsAsync/),
				);
			}
		}),
);

/** The fields themselves, because the fields of a table's line are parsed when they are read. */
function fields(entry: MountEntry): MountEntry {
	const { id, parent, device, root, mountPoint, options, fsType, source, unbindable, shared } = entry;
	return { id, parent, device, root, mountPoint, options, fsType, source, unbindable, shared };
}

function byId(entries: readonly MountEntry[]): MountEntry[] {
	return entries.map(fields).sort((a, b) => a.id - b.id);
}

test(
	"for one mount and those below it, statmount and listmount return the same as the table",
	{
		needs: [...needs, "linux:6.15", "tool:unshare"],
	},
	() =>
		withTmpfs(async (folder) => {
			const names = ["a b", "tab\tnl\n", "back\\slash", "\u20ac", "ns", "plain", "plain/x", "#"];
			const folders = mkdirs(folder, ...names);
			sh(
				"mount",
				"-t",
				"tmpfs",
				"-o",
				"ro,nosuid,nodev,noexec,noatime,nodiratime",
				"so urce\\",
				folders[0] as string,
			);
			sh("mount", "-t", "tmpfs", "-o", "strictatime", "", folders[1] as string);
			sh("mount", "--bind", folders[5] as string, folders[2] as string);
			sh("mount", "--make-unbindable", folders[2] as string);
			sh("mount", "-t", "proc", "proc", folders[3] as string);
			sh("mount", "-t", "ramfs", "#", folders[7] as string);
			sh("mount", "--bind", folders[5] as string, folders[6] as string);
			const mapped = await mountIdmapped({
				source: folder,
				target: folders[6] as string,
				mapping: "0:1:1",
				nosymfollow: true,
			});
			const container = await startContainer(folder, "pivot", "0:100000:65536");
			const { descriptor, root: top } = openMountNamespace(container.pid);
			try {
				const own = parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
				let compared = 0;
				for (const entry of own.filter(({ mountPoint }) => mountPoint.startsWith(folder))) {
					const fd = openSync(entry.mountPoint, O_PATH);
					const found = runSync(findMount(fd, undefined, "ERR_USERNS_MOUNT", "x")) as MountEntry;
					// Of several mounts at one path, the path leads to the topmost.
					if (found.id === entry.id) {
						assert.deepEqual(fields(found), fields(entry));
						const below = runSync(mountsBelow(fd, undefined, "ERR_USERNS_MOUNT", "x"));
						assert.deepEqual(byId(below), byId(descendants(own, entry.id)));
						compared++;
					}
					assert.equal(runSync(findMount(fd, descriptor.fd, "ERR_USERNS_MOUNT", "x")), undefined);
					closeSync(fd);
				}
				assert.ok(compared >= 7, `${compared} mounts`);
				const theirs = [...readIn(descriptor.fd, "ERR_USERNS_MOUNT", "x")];
				for (const path of ["/", "/usr", "/proc"]) {
					const { fd } = native().walk(
						WALK_END.location,
						WALK_LINKS.own,
						0,
						descriptor.fd,
						top?.fd ?? -1,
						true,
						path,
						false,
					) as Outcome;
					const found = runSync(findMount(fd, descriptor.fd, "ERR_USERNS_MOUNT", "x")) as MountEntry;
					assert.equal(found.mountPoint, path);
					assert.deepEqual(fields(found), fields(theirs.find(({ id }) => id === found.id) as MountEntry));
					const below = runSync(mountsBelow(fd, descriptor.fd, "ERR_USERNS_MOUNT", "x"));
					assert.deepEqual(byId(below), byId(descendants(theirs, found.id)));
					native().close(fd);
				}
			} finally {
				top?.close();
				descriptor.close();
				await container.end();
				await mapped.unmount();
			}
		}),
);
