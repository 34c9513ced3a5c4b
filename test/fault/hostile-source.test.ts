import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Handles, mountIdmapped, UsernsError } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { type Container, startContainer } from "../support/container.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { removeSwapper, whileSwapping } from "../support/swapping.ts";
import { test } from "../support/test.ts";

// A container, or another user, that changes directories and mounts while one of them is the source of a mount.

const needs = ["linux", "root", "mounts", "linux:6.3", "tool:cc", "tool:unshare", "tool:nsenter"] as const;
const LONG = process.env.USERNS_LONG === "1";
const MOUNTS = LONG ? 20_000 : 300;
const limit = { needs, timeout: LONG ? 900_000 : 120_000 };

after(removeSwapper);

/** The mount points at or below a folder. */
function mountsBelow(folder: string): string[] {
	return readFileSync("/proc/self/mountinfo", "utf8")
		.split("\n")
		.map((line) => line.split(" ")[4] ?? "")
		.filter((point) => point === folder || point.startsWith(`${folder}/`));
}

interface World {
	container: Container;
	/** Exchanged by the attacker: a directory, and a link that leads out of the container's root. */
	ways: [way: string, other: string];
	target: string;
	/** Exists if a directory outside the container's root is mounted at the target. */
	marker: string;
}

/** With chroot(2) alone, the mount namespace has all mounts of the host, and only the root directory confines the container. */
async function withWays(body: (world: World) => Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		const [target = "", victim = ""] = mkdirs(folder, "target", "victim");
		mkdirs(folder, "victim/spot/marker");
		const container = await startContainer(folder, "chroot");
		try {
			const root = `/proc/${container.pid}/root`;
			const [way = ""] = mkdirs(root, "way");
			mkdirs(root, "way/spot");
			const other = join(root, "other");
			symlinkSync(victim, other);
			await body({ container, ways: [way, other], target, marker: join(target, "marker") });
		} finally {
			await container.end();
		}
	});
}

for (const owner of [false, true]) {
	test(
		`no directory outside the container's root is mounted while a directory and a link are swapped${owner ? ", with owner" : ""}`,
		limit,
		(t) =>
			withWays(async ({ container, ways, target, marker }) => {
				const handles = new Handles();
				const map = owner ? { owner: { uid: 7, gid: 7 } } : { mapping: "0:5000:10" };
				const options = { source: "/way/spot", from: container.pid, target, handles, ...map };
				let mounted = 0;
				let refused = 0;
				await whileSwapping(...ways, async (swaps) => {
					const before = swaps();
					// Until both states were met, and the attacker has had a chance in each step.
					while (mounted < MOUNTS || refused < MOUNTS / 10 || swaps() - before < 1000) {
						try {
							const mount = await mountIdmapped(options);
							assert.equal(existsSync(marker), false);
							assert.deepEqual(mountsBelow(target), [target]);
							await mount.unmount();
							mounted++;
						} catch (error) {
							if (!(error instanceof UsernsError)) throw error;
							assert.equal(error.code, "ERR_USERNS_MOUNT");
							assert.match(error.errnoCode ?? "", /^(ENOENT|EAGAIN|EXDEV)$/, error.message);
							refused++;
						}
					}
					t.diagnostic(`${mounted} mounts, ${refused} refusals, ${swaps() - before} swaps, 0 outside`);
				});
				handles.release();
				assert.deepEqual(mountsBelow(target), []);
			}),
	);
}

test("control: a path below the container's root can lead outside it", limit, () =>
	withWays(async ({ container, ways, target, marker }) => {
		const path = join(container.root, "way/spot");
		let outside = 0;
		await whileSwapping(...ways, async () => {
			for (let i = 0; i < 2000 && outside === 0; i++) {
				// Only a process in the mount namespace can copy its mounts, so the mount is made there.
				const script = 'mount --bind "$1" "$2" || exit; if [ -e "$3" ]; then echo outside; fi; umount "$2"';
				const enter = ["-t", `${container.pid}`, "--mount", "sh", "-c", script, "sh", path, target, marker];
				if (spawnSync("nsenter", enter, { encoding: "utf8" }).stdout !== "") outside++;
			}
		});
		assert.ok(outside > 0, "the attacker never won, so this shows nothing of the others");
	}),
);

test("owner is that of the directory which is mounted, while two directories are exchanged", limit, (t) =>
	withTmpfs(async (folder) => {
		const [one = "", two = "", target = ""] = mkdirs(folder, "one", "two", "target");
		mkdirSync(join(two, "marker"));
		for (const [path, id] of [
			[one, 1000],
			[two, 2000],
			[join(two, "marker"), 2000],
		] as const) {
			chownSync(path, id, id);
		}
		const met = new Map<boolean, number>();
		await whileSwapping(one, two, async (swaps) => {
			const before = swaps();
			const count = (isTwo: boolean) => met.get(isTwo) ?? 0;
			while (count(true) < MOUNTS || count(false) < MOUNTS || swaps() - before < 1000) {
				const mount = await mountIdmapped({ source: one, target, owner: { uid: 7, gid: 7 } });
				const isTwo = existsSync(join(target, "marker"));
				assert.equal(mount.mapping.id, isTwo ? "2000:7:1" : "1000:7:1");
				assert.equal(statSync(target).uid, 7);
				await mount.unmount();
				met.set(isTwo, count(isTwo) + 1);
			}
			t.diagnostic(`${count(false)} and ${count(true)} mounts, ${swaps() - before} swaps`);
		});
	}),
);

test("no mount that the container makes on the source meanwhile is in the copy", limit, (t) =>
	withTmpfs(async (folder) => {
		const [target = ""] = mkdirs(folder, "target");
		const container = await startContainer(folder, "pivot");
		const inside = (script: string) => ["-t", `${container.pid}`, "--mount", "sh", "-c", script];
		// The peers of a shared mount receive every mount that is made on it.
		sh("nsenter", ...inside("mkdir /data/on; mount --bind /data /data; mount --make-rshared /"));
		const counter = `/proc/${container.pid}/root/real/count`;
		const count = () => (existsSync(counter) ? Number(readFileSync(counter, "utf8")) : 0);
		const loop =
			"n=0; while n=$((n + 1)); do mount -t tmpfs on /data/on; umount /data/on; echo $n > /real/count; done";
		const attacker = spawn("nsenter", inside(loop), { stdio: "ignore" });
		const gone = once(attacker, "close");
		const handles = new Handles();
		const base = { source: "/data", from: container.pid, target, mapping: "0:5000:10", handles };
		try {
			while (count() === 0) await sleep(5);
			const before = count();
			let mounted = 0;
			for (; count() - before < (LONG ? 5000 : 100) || mounted < MOUNTS; mounted++) {
				const mount = await mountIdmapped(base);
				assert.deepEqual(mountsBelow(target), [target]);
				await mount.unmount();
			}
			t.diagnostic(`${mounted} mounts, ${count() - before} of the container, 0 in a copy`);
			// The control: a slave receives them.
			const slave = await mountIdmapped({ ...base, propagation: "slave" });
			while (mountsBelow(target).length < 2) await sleep(1);
			await slave.unmount().catch(() => sh("umount", "-R", "-l", target));
			slave.close();
		} finally {
			attacker.kill("SIGKILL");
			await gone;
			await container.end();
			handles.release();
		}
	}),
);
