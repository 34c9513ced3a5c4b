import assert from "node:assert/strict";
import {
	chmodSync,
	chownSync,
	existsSync,
	mkdirSync,
	readFileSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Mapping, mountIdmapped, pin, UserNamespace, unmount } from "../../src/index.ts";
import { ask } from "./child.ts";
import { mkdirs, withTmpfs } from "./mounts.ts";
import { Container, isSince, joining, makeRootfs, needsMappings, ociConfig, type Runtime } from "./oci.ts";
import { emptied, makeUser, privateMounts, processesIn, USER } from "./private-mounts.ts";
import { SLOWER } from "./slower.ts";
import { test } from "./test.ts";

const MAP = "0:100000:65536";

/** On disk 1000 to 1009; in a namespace of MAP, the container's 0 to 9. */
const VOLUME_MAP = "1000:100000:10";

/** The lines of a text, with single blanks between words. */
export function words(text: string): string[] {
	return text
		.trim()
		.split("\n")
		.map((line) => line.trim().replaceAll(/ +/g, " "));
}

export function owner(path: string): string {
	const { uid, gid } = statSync(path);
	return `${uid}:${gid}`;
}

/**
 * A bundle in `folder`: its root file system and the volume's `data` are on disk; `rootfs` and `volume` are the mounts
 * of them.
 */
export function makeBundle(folder: string): { disk: string; rootfs: string; data: string; volume: string } {
	const [disk = "", rootfs = "", data = "", volume = ""] = mkdirs(folder, "disk", "rootfs", "data", "volume");
	makeRootfs(disk);
	writeFileSync(join(data, "old"), "written before\n");
	for (const path of [data, join(data, "old")]) chownSync(path, 1000, 1000);
	return { disk, rootfs, data, volume };
}

const WORK = `
set -e
cat /proc/self/uid_map /proc/self/gid_map
readlink /proc/self/ns/user
stat -c '%n %u:%g' /bin/busybox /data /data/old
echo more >> /data/old
mkdir /data/folder
echo new > /data/folder/new
chown 5:6 /data/folder/new
stat -c '%n %u:%g' /data/folder /data/folder/new
! chown 10 /data/folder/new 2>/dev/null || echo 'an ID that the volume does not map was taken'
`;

export function ociTests(runtime: Runtime): void {
	const needs = ["linux", "root", "mounts", `tool:${runtime}`, "busybox"] as const;

	for (const way of ["a link to /proc/PID/fd/N of the holder", "a pinned file"]) {
		test(
			`${runtime} joins by ${way}, and an ID-mapped volume belongs to its root, and to 1000 on disk`,
			{
				needs,
			},
			() =>
				withTmpfs(async (folder) => {
					const { disk, rootfs, data, volume } = makeBundle(folder);
					const ns = await UserNamespace.create(MAP);
					const userns = join(folder, "userns");
					const joined = joining(runtime, userns, ns.fd, MAP);
					if (way === "a pinned file") {
						rmSync(userns);
						pin(ns, userns);
					}
					const root = await mountIdmapped({ source: disk, target: rootfs, userns: ns });
					const mount = await mountIdmapped({ source: data, target: volume, mapping: VOLUME_MAP });
					const container = new Container(runtime, folder, {
						script: WORK,
						...joined,
						volume,
					});
					try {
						const { status, stdout, stderr } = container.run();
						assert.equal(status, 0, stderr);
						assert.deepEqual(words(stdout), [
							"0 100000 65536".trim(),
							"0 100000 65536",
							`user:[${ns.inode}]`,
							"/bin/busybox 0:0",
							"/data 0:0",
							"/data/old 0:0",
							"/data/folder 0:0",
							"/data/folder/new 5:6",
						]);
						assert.equal(owner(join(data, "old")), "1000:1000");
						assert.equal(readFileSync(join(data, "old"), "utf8"), "written before\nmore\n");
						assert.equal(owner(join(data, "folder")), "1000:1000");
						assert.equal(owner(join(data, "folder/new")), "1005:1006");
						assert.equal(owner(join(volume, "folder/new")), "100005:100006");
						assert.equal(owner(join(disk, "bin/busybox")), "0:0");
					} finally {
						assert.deepEqual(await container.remove(), []);
						await mount.unmount();
						await root.unmount();
						if (way === "a pinned file") unmount(userns);
						assert.deepEqual(await emptied(ns.inode), []);
						ns.close();
					}
				}),
		);
	}

	test(
		`${runtime} and /proc/PID/fd/N itself: runc since 1.1.11 takes PID's mapping for the namespace's, as docs/clients.md says`,
		{ needs },
		() =>
			withTmpfs(async (folder) => {
				const { rootfs, data } = makeBundle(folder);
				makeRootfs(rootfs);
				const ns = await UserNamespace.create(MAP);
				const container = new Container(runtime, folder, {
					script: "readlink /proc/self/ns/user",
					userns: `/proc/${process.pid}/fd/${ns.fd}`,
					mappings: Mapping.from(MAP).toJSON(),
					volume: data,
				});
				try {
					const { status, stdout, stderr } = container.run();
					if (runtime === "runc" && isSince("runc", "1.1.11")) {
						assert.notEqual(status, 0);
						assert.match(stderr, /non-matching mapping/);
					} else {
						assert.deepEqual([status, words(stdout)], [0, [`user:[${ns.inode}]`]], stderr);
					}
				} finally {
					assert.deepEqual(await container.remove(), []);
					assert.deepEqual(await emptied(ns.inode), []);
					ns.close();
				}
			}),
	);

	test(
		`the attributes of a volume hold in a container of ${runtime} if its options repeat them, as docs/clients.md says`,
		{ needs },
		(t) =>
			withTmpfs(async (folder) => {
				const { rootfs, data, volume } = makeBundle(folder);
				makeRootfs(rootfs);
				const ns = await UserNamespace.create(MAP);
				const joined = joining(runtime, join(folder, "userns"), ns.fd, MAP);
				const attributes = { readonly: true, nodev: true, nosuid: true, noexec: true };
				const mount = await mountIdmapped({
					...{ source: data, target: volume, mapping: VOLUME_MAP, ...attributes },
				});
				const run = async (...options: string[]) => {
					const container = new Container(runtime, folder, {
						script: "cat /proc/self/mountinfo; touch /data/new",
						...{ ...joined, volume, options },
					});
					const { stdout, stderr } = container.run();
					assert.deepEqual(await container.remove(), []);
					const seen = / \/data ([^/]\S+) /.exec(stdout)?.[1]?.split(",") ?? assert.fail(stderr);
					const isWritten = existsSync(join(data, "new"));
					if (isWritten) rmSync(join(data, "new"));
					return { seen: new Set(seen), isWritten };
				};
				try {
					const all = ["ro", "nodev", "nosuid", "noexec"];
					const repeated = await run("bind", ...all);
					assert.ok(all.every((option) => repeated.seen.has(option)));
					assert.ok(!repeated.isWritten);
					const plain = await run("bind");
					const isKept = all.every((option) => plain.seen.has(option));
					// runc and crun 1.8.1 keep them. crun 1.21 and 1.28 keep none, and the container writes to the volume.
					if (runtime === "runc" || !isSince("crun", "1.9")) assert.ok(isKept);
					if (runtime === "crun" && isSince("crun", "1.21")) assert.ok(!plain.seen.has("ro"));
					assert.equal(plain.isWritten, !plain.seen.has("ro"));
					t.diagnostic(`a bind mount without these options ${isKept ? "keeps" : "loses"} the attributes`);
				} finally {
					await mount.unmount();
					assert.deepEqual(await emptied(ns.inode), []);
					ns.close();
				}
			}),
	);

	test(
		`open finds a namespace that ${runtime} made by pid, by path and as a bare descriptor, and reads its mapping`,
		{
			needs,
		},
		() =>
			withTmpfs(async (folder) => {
				// More than five extents, of two kinds, in an order that is not the canonical one.
				const asked = Mapping.from(
					"u:9:300000:1,u:0:100000:3,u:3:200000:2,u:5:210000:1,u:6:220000:1,u:7:230000:2,u:100:1000:1,g:0:100000:65536",
				);
				const { rootfs, data, volume } = makeBundle(folder);
				makeRootfs(rootfs);
				const mount = await mountIdmapped({ source: data, target: volume, mapping: "1000:100000:1" });
				const container = new Container(runtime, folder, {
					script: "sleep 30",
					mappings: asked.toJSON(),
					volume,
				});
				let inode = 0;
				try {
					const pid = container.startDetached();
					const byPid = UserNamespace.open(pid);
					const byPath = UserNamespace.open(`/proc/${pid}/ns/user`);
					const bare = UserNamespace.open(`/proc/self/fd/${byPid.fd}`);
					inode = byPid.inode;
					assert.equal(statSync(`/proc/${pid}/ns/user`).ino, inode);
					assert.ok(processesIn(inode).includes(String(pid)));
					for (const ns of [byPid, byPath, bare]) {
						assert.ok(ns.equals(byPid));
						assert.equal((await ns.mapping()).id, asked.id);
						assert.equal(ns.mappingSync().toString("proc"), asked.toString("proc"));
						assert.equal(ns.ownerUid(), 0);
					}
					// After the container has ended, only the descriptor refers to the namespace.
					assert.deepEqual(await container.remove(), []);
					assert.deepEqual(await emptied(inode), []);
					const later = UserNamespace.open(`/proc/self/fd/${bare.fd}`);
					assert.equal(later.mappingSync().id, asked.id);
					for (const ns of [byPid, byPath, bare, later]) ns.close();
				} finally {
					await container.remove();
					await mount.unmount();
				}
			}),
	);

	test(
		`${runtime} joins a namespace of an ordinary user's own and subordinate IDs`,
		{
			needs: [...needs, "user", "tool:newuidmap", "tool:newgidmap"],
		},
		() =>
			withTmpfs((folder) => {
				const [bundle = ""] = mkdirs(folder, "bundle");
				const { data } = makeBundle(bundle);
				makeRootfs(join(bundle, "rootfs"));
				mkdirSync(join(bundle, "state"));
				// A folder of the user's own, because an ID-mapped mount of the machine's file systems needs root.
				for (const path of [bundle, join(bundle, "state"), data, join(data, "old")])
					chownSync(path, USER.uid, USER.uid);
				const expected = Mapping.from(`0:${USER.uid}:1,1:${USER.first}:${USER.size}`);
				const config = ociConfig({
					script: WORK.replace("chown 10 ", `chown ${USER.size + 1} `),
					userns: "PATH",
					...(needsMappings(runtime) && { mappings: expected.toJSON() }),
					volume: data,
				});
				writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
				chmodSync(join(bundle, "config.json"), 0o666);
				const { mapping, inode, status, stdout, stderr } = ask<{
					mapping: string;
					inode: number;
					status: number;
					stdout: string;
					stderr: string;
				}>(
					`const { spawnSync } = await import("node:child_process");
				const { readFileSync, symlinkSync, writeFileSync } = await import("node:fs");
				const ns = await userns.UserNamespace.create(userns.Mapping.rootless());
				const file = ${JSON.stringify(join(bundle, "config.json"))};
				const path = ${JSON.stringify(join(bundle, "userns"))};
				symlinkSync("/proc/" + process.pid + "/fd/" + ns.fd, path);
				writeFileSync(file, readFileSync(file, "utf8").replace('"PATH"', JSON.stringify(path)));
				const runtime = ${JSON.stringify([runtime, "--root", join(bundle, "state")])};
				const run = (...args) => spawnSync(runtime[0], [...runtime.slice(1), ...args], {
					encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: ${20_000 * SLOWER},
				});
				const { status, stdout, stderr } = run("run", "--bundle", ${JSON.stringify(bundle)}, "rootless");
				run("delete", "--force", "rootless");
				const mapping = (await ns.mapping()).toString();
				console.log(JSON.stringify({ mapping, inode: ns.inode, status, stdout, stderr }));
				ns.close();`,
					{ prefix: privateMounts({ cgroup2: true, user: makeUser(folder) }) },
				);
				assert.equal(status, 0, stderr);
				assert.equal(mapping, expected.toString());
				assert.deepEqual(words(stdout).slice(4), [
					`user:[${inode}]`,
					"/bin/busybox 65534:65534",
					"/data 0:0",
					"/data/old 0:0",
					"/data/folder 0:0",
					"/data/folder/new 5:6",
				]);
				assert.equal(owner(join(data, "folder")), `${USER.uid}:${USER.uid}`);
				assert.equal(owner(join(data, "folder/new")), `${USER.first + 4}:${USER.first + 5}`);
				assert.deepEqual(processesIn(inode), []);
			}),
	);
}
