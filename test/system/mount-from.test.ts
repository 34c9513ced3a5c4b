import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, closeSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type MountIdmappedOptions, mountIdmapped, supports } from "../../src/index.ts";
import { ask, sh } from "../support/child.ts";
import { type Container, startContainer } from "../support/container.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { test } from "../support/test.ts";

// The containers have a tmpfs.
const needs = ["linux", "root", "mounts", "linux:6.3", "tool:unshare", "tool:nsenter"] as const;
/** The IDs of the container on the host. */
const FIRST = 2100000000;
const CONTAINER = `0:${FIRST}:65536`;
const NOBODY = [65534, 65534];

/** [uid, gid]. */
function ownerOf(path: string): number[] {
	const { uid, gid } = statSync(path);
	return [uid, gid];
}

/** Runs a shell in the container, as its root if it has a user namespace. */
function inside({ pid }: Container, script: string, mapped: boolean): string {
	const user = mapped ? ["--user", "--setuid", "0", "--setgid", "0"] : [];
	return sh("nsenter", "--target", `${pid}`, "--mount", "--root", ...user, "sh", "-c", script);
}

function tableOf(pid: number | "self"): string {
	return readFileSync(`/proc/${pid}/mountinfo`, "utf8");
}

/** The line of a mount point in the mountinfo of this process. */
function lineOf(point: string): string {
	return tableOf("self")
		.split("\n")
		.findLast((line) => line.split(" ")[4] === point) as string;
}

/** A container whose /data is a directory of the root file system with the files `file` (0:0 inside) and `other` (33:34). */
async function withContainer(
	body: (container: Container, target: string, folder: string) => Promise<void>,
	mapping: string | null = CONTAINER,
	way: "pivot" | "chroot" = "pivot",
): Promise<void> {
	await withTmpfs(async (folder) => {
		const container = await startContainer(folder, way, mapping ?? undefined);
		try {
			const files = "cd /data && echo file > file && echo other > other && chown 33:34 other";
			inside(container, files, mapping !== null);
			await body(container, mkdirs(folder, "target")[0] as string, folder);
		} finally {
			await container.end();
		}
	});
}

/** Mounts, calls the function, and unmounts. */
async function during(
	options: MountIdmappedOptions,
	look: (warnings: readonly string[]) => void,
): Promise<void> {
	const mount = await mountIdmapped(options);
	try {
		look(mount.warnings);
	} finally {
		await mount.unmount();
	}
}

for (const way of ["pivot", "chroot"] as const) {
	for (const mapping of [null, CONTAINER]) {
		const name = `${way}, ${mapping ? "its own user namespace" : "the host's user namespace"}`;
		test(
			`from a container (${name}): its directory is mounted here, and nothing changes there`,
			{ needs },
			() =>
				withContainer(
					async (container, target) => {
						const before = tableOf(container.pid);
						// The IDs on disk are those of the user namespace in which the file system was mounted.
						const base = { from: container.pid, target, mapping: "0:5000:100" };
						for (const source of ["/data", "data", "/../data/../real/../data"]) {
							await during({ ...base, source, readonly: true, nosuid: true }, () => {
								assert.deepEqual(ownerOf(join(target, "file")), [5000, 5000]);
								assert.deepEqual(ownerOf(join(target, "other")), [5033, 5034]);
								assert.equal(readFileSync(join(target, "other"), "utf8"), "other\n");
								assert.match(lineOf(target), / \/data \S+ ro,nosuid,relatime,idmapped - /);
								assert.equal(tableOf(container.pid), before);
							});
						}
						if (way === "pivot") {
							const from = `/proc/${container.pid}/ns/mnt`;
							await during({ ...base, from, source: "/data" }, () =>
								assert.deepEqual(ownerOf(join(target, "file")), [5000, 5000]),
							);
						}
						assert.equal(tableOf(container.pid), before);
						assert.doesNotMatch(tableOf("self"), /idmapped/);
					},
					mapping,
					way,
				),
		);
	}
}

test("from: links lead to paths of the container, and magic links nowhere", { needs }, () =>
	withContainer(async (container, target) => {
		const base = { from: container.pid, target, mapping: "0:5000:100" };
		inside(container, "touch /real/here && ln -s /data/file /to-file", true);
		await during({ ...base, source: "/link" }, () => statSync(join(target, "here")));
		for (const [source, options, message] of [
			["/host-etc", {}, /opening the source: ENOENT/], // the host has /etc
			["/nothing", {}, /cannot mount "\/nothing" in the mount namespace of process \d+ at .*: ENOENT/],
			["/link", { resolve: "no-symlinks" }, /opening the source: ELOOP/],
			[`/proc/${process.pid}/root/tmp`, {}, /opening the source: ELOOP/],
			["/data/file/x", {}, /opening the source: ENOTDIR/],
		] as const) {
			await assert.rejects(
				mountIdmapped({ ...base, ...options, source }),
				failure("ERR_USERNS_MOUNT", message),
			);
		}
		const file = join(container.root, "..", "file");
		writeFileSync(file, "");
		await during({ ...base, source: "/to-file", target: file }, () =>
			assert.equal(readFileSync(file, "utf8"), "file\n"),
		);
		assert.doesNotMatch(tableOf("self"), /idmapped/);
	}),
);

test(
	"from with owner: the IDs on disk are the container's on its own file system, and the host's on one of the host",
	{ needs },
	() =>
		withContainer(async (container, target, folder) => {
			const root = `/proc/${container.pid}/root`;
			const owner = { uid: 7, gid: 8 };
			// This tmpfs was mounted in the container's user namespace: it stores 0 for the container's root.
			chownSync(join(root, "data"), FIRST + 5, FIRST + 6);
			for (const from of [container.pid, `/proc/${container.pid}/ns/mnt`]) {
				const mount = await mountIdmapped({ source: "/data", from, target, owner });
				assert.equal(mount.mapping.id, "u:5:7:1,g:6:8:1");
				assert.deepEqual(ownerOf(target), [7, 8]);
				assert.deepEqual(ownerOf(join(target, "file")), NOBODY);
				await mount.unmount();
			}
			// The others stay as they are visible without the map, which for this file system is the container's.
			const taken = { source: "/data", from: container.pid, target, owner: { uid: FIRST + 33, gid: 8 } };
			await during({ ...taken, others: "keep" }, (warnings) => {
				assert.deepEqual(ownerOf(target), [FIRST + 33, 8]);
				assert.deepEqual(ownerOf(join(target, "file")), [FIRST, FIRST]);
				assert.deepEqual(ownerOf(join(target, "other")), [NOBODY[0], FIRST + 34]);
				assert.deepEqual(warnings, [
					`files of uid 33 on disk belong to nobody in the mount, because the owner's uid 5 is visible as ${FIRST + 33}`,
				]);
			});
			if (olderThan("6.15") !== undefined) return; // the map of the next source is replaced
			// A directory of the host's file system, which the container has got from the host.
			const [volume = ""] = mkdirs(folder, "volume");
			chownSync(volume, 1000, 100);
			const given = await mountIdmapped({
				source: volume,
				target: "/real",
				into: container.pid,
				owner: { uid: 0, gid: 0 },
			});
			const mount = await mountIdmapped({ source: "/real", from: container.pid, target, owner });
			assert.equal(mount.mapping.id, "u:1000:7:1,g:100:8:1"); // composed: on disk to visible here
			assert.deepEqual(ownerOf(target), [7, 8]);
			await mount.unmount();
			await given.unmount();
		}),
);

test(
	"from with owner: a directory of an owner whom the container does not map is refused, because its root chose the directory",
	{ needs: [...needs, "linux:6.15"] }, // the source is ID-mapped already
	() =>
		withContainer(async (container, target, folder) => {
			const [secret = ""] = mkdirs(folder, "secret");
			writeFileSync(join(secret, "key"), "secret\n", { mode: 0o600 });
			const everyId = { mapping: "0:0:4294967295" };
			const given = await mountIdmapped({ source: secret, into: container.pid, target: "/real", ...everyId });
			inside(container, "mount --bind /real /data", true);
			const before = tableOf(container.pid);
			for (const [uid, gid, kind] of [
				[0, 0, "uid"],
				[FIRST, 100, "gid"],
				[1000, FIRST, "uid"],
				[65534, FIRST, "uid"],
			] as const) {
				chownSync(secret, uid, gid);
				for (const from of [container.pid, `/proc/${container.pid}/ns/mnt`]) {
					for (const to of [{ target }, { target: "/old", into: container.pid }, {}]) {
						for (const others of ["keep", "unmapped"] as const) {
							const options = { source: "/data", from, owner: { uid: 0, gid: 0 }, others, ...to };
							const id = kind === "uid" ? uid : gid;
							const words = new RegExp(`belongs to the ${kind} ${id}, which the container .* does not map`);
							await assert.rejects(mountIdmapped(options), failure("ERR_USERNS_UNMAPPED_ID", words));
						}
					}
				}
			}
			assert.equal(tableOf(container.pid), before);
			assert.doesNotMatch(tableOf("self"), /idmapped/);
			// A process of host root can be in the mount namespace. The container's root still may mount there.
			const args = [
				"--target",
				`${container.pid}`,
				"--mount",
				"--root",
				"sh",
				"-c",
				"echo ready; exec sleep 1000",
			];
			const visitor = spawn("nsenter", args, { stdio: ["ignore", "pipe", "inherit"] });
			try {
				await once(visitor.stdout, "data");
				const options = { source: "/data", from: visitor.pid as number, target, owner: { uid: 0, gid: 0 } };
				const words = /belongs to the uid 65534, which the container/;
				await assert.rejects(mountIdmapped(options), failure("ERR_USERNS_UNMAPPED_ID", words));
			} finally {
				visitor.kill();
			}
			// Its own directory is mounted, and a mapping is the caller's own decision.
			chownSync(secret, FIRST, FIRST);
			const own = { source: "/data", from: container.pid, target, owner: { uid: 7, gid: 8 } };
			await during(own, () => assert.deepEqual(ownerOf(target), [7, 8]));
			chownSync(secret, 0, 0);
			const mapped = { source: "/data", from: container.pid, target, mapping: "u:0:7:1,g:0:8:1" };
			await during(mapped, () => assert.deepEqual(ownerOf(join(target, "key")), [7, 8]));
			await given.unmount();
		}),
);

test(
	"from with owner: an ID of the container's file system is not mapped on mounts of the host below it, where 0 is root",
	{ needs: [...needs, "linux:6.3"] },
	() =>
		withContainer(async (container, target, folder) => {
			const [secret = ""] = mkdirs(folder, "secret");
			writeFileSync(join(secret, "key"), "secret\n", { mode: 0o600 });
			const given = await mountIdmapped({
				source: secret,
				into: container.pid,
				target: "/real",
				unmap: true,
			});
			inside(container, "mkdir /data/below && mount --bind /real /data/below", true);
			const before = tableOf(container.pid);
			const base = { source: "/data", from: container.pid, owner: { uid: 0, gid: 0 }, recursive: true };
			for (const others of ["keep", "unmapped"] as const) {
				for (const to of [{ target }, { target: "/old", into: container.pid }, {}]) {
					await assert.rejects(mountIdmapped({ ...base, ...to, others }), (error) => {
						failure("ERR_USERNS_MOUNT", /the mount does not show the owner/)(error);
						assert.match((error as Error & { hint: string }).hint, /recursiveIdmap: false/);
						return true;
					});
				}
				assert.equal(tableOf(container.pid), before);
				// The hint.
				await during({ ...base, target, others, recursiveIdmap: false }, () => {
					assert.deepEqual(ownerOf(join(target, "file")), [0, 0]);
					assert.doesNotMatch(lineOf(join(target, "below")), /idmapped.* - tmpfs .*secret/);
					assert.equal(lineOf(join(target, "below")).split(" ")[3], "/secret");
				});
			}
			await given.unmount();
		}),
);

test(
	"from: the mounts below the source, maps of the container, and a detached mount",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withContainer(async (container, target, folder) => {
			inside(
				container,
				"mkdir /data/below && mount -t tmpfs below /data/below && touch /data/below/deep",
				true,
			);
			const base = { from: container.pid, target, mapping: "0:5000:100" };
			await during({ ...base, source: "/data", recursive: true }, () => {
				assert.deepEqual(ownerOf(join(target, "below/deep")), [5000, 5000]);
				assert.match(lineOf(join(target, "below")), /idmapped - tmpfs below /);
			});
			await during({ ...base, source: "/data" }, () =>
				assert.throws(() => statSync(join(target, "below/deep")), /ENOENT/),
			);
			// A shared parent, under which the mounts of a tree are copied and attached one by one.
			sh("mount", "--bind", folder, folder);
			sh("mount", "--make-shared", folder);
			await during({ ...base, source: "/data", recursive: true }, () => {
				assert.deepEqual(ownerOf(join(target, "below/deep")), [5000, 5000]);
				assert.doesNotMatch(lineOf(target), /shared:|master:/);
			});
			sh("umount", folder);

			const [volume = ""] = mkdirs(folder, "volume");
			chownSync(volume, 10, 10);
			const mapped = await mountIdmapped({
				source: volume,
				target: "/real",
				into: container.pid,
				mapping: `10:${FIRST}:5`,
			});
			const again = { ...base, source: "/real", mapping: `${FIRST}:600:1` };
			await during(again, () => assert.deepEqual(ownerOf(target), [600, 600]));
			await during({ ...again, nested: "replace", mapping: "10:700:1" }, () =>
				assert.deepEqual(ownerOf(target), [700, 700]),
			);
			await assert.rejects(
				mountIdmapped({ ...again, nested: "refuse" }),
				failure("ERR_USERNS_MOUNT", /at \/real is already ID-mapped/),
			);
			const { mapping: _, ...rest } = again;
			await during({ ...rest, unmap: true }, () => assert.deepEqual(ownerOf(target), [10, 10]));
			await mapped.unmount();

			const { target: __, ...detached } = base;
			const mount = await mountIdmapped({ ...detached, source: "/data" });
			await mount.attach(target);
			assert.deepEqual(ownerOf(join(target, "file")), [5000, 5000]);
			await mount.unmount();
		}),
);

test("from one container into another, and into the same one", { needs }, () =>
	withContainer((container, _, folder) =>
		withContainer(async (other) => {
			for (const into of [other.pid, container.pid]) {
				const owner = { uid: 0, gid: 0 };
				chownSync(`/proc/${container.pid}/root/data`, FIRST, FIRST);
				const mount = await mountIdmapped({
					source: "/data",
					from: container.pid,
					target: "/real",
					into,
					owner,
				});
				assert.deepEqual(mount.warnings, []);
				const first = into === other.pid ? 2200000000 : FIRST;
				assert.deepEqual(ownerOf(`/proc/${into}/root/real/file`), [first, first]);
				await mount.unmount();
			}
			assert.ok(folder);
		}, "0:2200000000:65536"),
	),
);

test("from: a namespace that cannot be used is an error, and nothing is mounted", { needs }, () =>
	withContainer(async (container, target, folder) => {
		const before = tableOf("self");
		const base = { source: "/data", target, mapping: "0:5000:100" };
		for (const [from, message] of [
			[2147483647, /mount namespace of process 2147483647: finding the process: ESRCH/],
			["/proc/self/ns/user", /the file is not a mount namespace/],
			[join(folder, "none"), /ENOENT/],
			[process.pid, /it is the mount namespace of this process/],
		] as const) {
			await assert.rejects(mountIdmapped({ ...base, from }), (error) => {
				failure("ERR_USERNS_MOUNT_NAMESPACE", message)(error);
				assert.doesNotMatch((error as Error & { hint: string }).hint, /\binto\b/);
				return true;
			});
		}
		for (const from of [0, -1, 1.5, 2 ** 31, "", null, {}]) {
			await assert.rejects(
				mountIdmapped({ ...base, from } as never),
				failure("ERR_USERNS_INVALID_ARGUMENT", /from/),
			);
		}
		await container.end();
		await assert.rejects(
			mountIdmapped({ ...base, from: container.pid }),
			failure("ERR_USERNS_MOUNT_NAMESPACE", /ESRCH/),
		);
		assert.equal(tableOf("self"), before);
	}),
);

test("a source in another mount namespace is reported as such, and the hint works", { needs }, () =>
	withContainer(
		async (container, target) => {
			const path = `/proc/${container.pid}/root/data`;
			const fd = openSync(path, "r");
			const map = { mapping: "0:5000:100" };
			const words = /the mount of the source is in another mount namespace: .*EINVAL/;
			for (const options of [
				map,
				{ ...map, recursive: true },
				{ owner: { uid: 1, gid: 1 } },
				...(olderThan("6.15") === undefined ? [{ unmap: true }] : []),
			]) {
				for (const where of [{}, { target }]) {
					await assert.rejects(mountIdmapped({ source: path, ...where, ...options }), (error) => {
						failure("ERR_USERNS_MOUNT", words)(error);
						const { hint } = error as Error & { hint: string };
						assert.equal(
							hint,
							`Set { from: ${container.pid} }, and name the source as that process sees it: "/data".`,
						);
						return true;
					});
				}
			}
			await during({ source: "/data", from: container.pid, target, ...map }, () =>
				assert.deepEqual(ownerOf(join(target, "file")), [5000, 5000]),
			);
			// A descriptor, which is copied in that namespace too.
			await assert.rejects(
				mountIdmapped({ source: fd, target, ...map }),
				failure("ERR_USERNS_MOUNT", /is in another mount namespace and attached there/),
			);
			await during({ source: fd, from: container.pid, target, ...map }, () =>
				assert.deepEqual(ownerOf(join(target, "file")), [5000, 5000]),
			);
			for (const given of [path, fd]) {
				const { supported, reason, hint } = await supports(given);
				assert.equal(supported, false);
				assert.match(reason, /: it is in another mount namespace, or /);
				assert.match(hint ?? "", /nsenter/);
			}
			assert.doesNotMatch(tableOf(container.pid), /idmapped/);
			closeSync(fd);
		},
		null, // otherwise the link /proc/PID/root belongs to another user
	),
);

/**
 * Runs a script with a detached copy of `source` as descriptor 3, which a process in another mount namespace made. The script is in this
 * mount namespace again.
 */
function withForeign<T>(source: string, recursive: boolean, script: string): T {
	return ask<T>(
		`const { spawnSync } = await import("node:child_process");
		const made = await userns.mountIdmapped({ source: ${JSON.stringify(source)}, unmap: true, recursive: ${recursive} });
		const code = ${JSON.stringify(`import fs from "node:fs"; const userns = await import(URL);\n${script}`)}
			.replace("URL", JSON.stringify(USERNS));
		const args = ["--mount=/proc/${process.pid}/ns/mnt", process.execPath, "--input-type=module", "--eval", code];
		const { stdout, stderr } = spawnSync("nsenter", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe", made.fd] });
		if (stderr !== "") throw new Error(stderr);
		console.log(stdout);`,
		{ prefix: ["unshare", "--mount", "--propagation", "private"] },
	);
}

test(
	"a detached mount of another mount namespace is mapped itself, because it cannot be copied",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = "", below = ""] = mkdirs(folder, "source", "target", "source/below");
			sh("mount", "-t", "tmpfs", "below", below);
			for (const path of [source, below]) {
				writeFileSync(join(path, "file"), "");
				for (const each of [path, join(path, "file")]) chownSync(each, 10, 10);
			}
			const before = tableOf("self");
			const look = `const look = (path) => { try { return fs.statSync(path).uid; } catch (error) { return error.code; } };
			const target = ${JSON.stringify(target)};`;
			for (const recursive of [false, true]) {
				for (const how of ['mapping: "10:5000:1"', "owner: { uid: 5000, gid: 5000 }"]) {
					const seen = withForeign(
						source,
						recursive,
						`${look}
					const mount = await userns.mountIdmapped({ source: 3, target, ${how}, recursive: ${recursive}, readonly: true });
					const seen = [look(target + "/file"), look("/proc/self/fd/3/file"), look(target + "/below/file"), mount.mapping.id];
					try { fs.writeFileSync(target + "/new", ""); } catch (error) { seen.push(error.code); }
					await mount.unmount();
					console.log(JSON.stringify([...seen, look(target + "/file")]));`,
					);
					assert.deepEqual(seen, [
						...[5000, 5000, recursive ? 5000 : "ENOENT", "10:5000:1", "EROFS", "ENOENT"],
					]);
				}
			}
			// Detached, it lives as long as the caller's descriptor or the mount's own.
			const kept = withForeign(
				source,
				false,
				`${look}
			const mount = await userns.mountIdmapped({ source: 3, mapping: "10:5000:1" });
			fs.closeSync(3);
			await mount.attach(target);
			const seen = look(target + "/file");
			await mount.unmount();
			console.log(JSON.stringify(seen));`,
			);
			assert.equal(kept, 5000);
			// A second map, a map for a part of it, and none.
			const errors = withForeign<string[]>(
				source,
				false,
				`const errors = [];
			const attempt = async (options) => {
				await userns.mountIdmapped({ mapping: "10:5000:1", ...options }).then((m) => m.close(), (error) => errors.push(error.message));
			};
			await attempt({ source: fs.openSync("/proc/self/fd/3/file", "r") });
			await attempt({ source: "/proc/" + process.pid + "/fd/3" });
			await attempt({ source: 3, unmap: true, mapping: undefined });
			await attempt({ source: 3 });
			await attempt({ source: 3 });
			const { reason } = await userns.supports(3);
			console.log(JSON.stringify([...errors, reason]));`,
			);
			assert.equal(errors.length, 5);
			for (const message of errors.slice(0, 3))
				assert.match(message, /is in another mount namespace.*EINVAL/);
			assert.match(errors[3] ?? "", /setting the map and the attributes: EPERM/);
			assert.match(errors[4] ?? "", /: it is in another mount namespace, or /);
			const refused = withForeign<string>(
				"/proc",
				false,
				`await userns.mountIdmapped({ source: 3, mapping: "10:5000:1" }).catch((error) => console.log(JSON.stringify(error.message)));`,
			);
			assert.match(
				refused,
				/is in another mount namespace and attached there, or its file system cannot be ID-mapped/,
			);
			assert.equal(tableOf("self"), before);
			assert.deepEqual(ownerOf(join(source, "file")), [10, 10]);
		}),
);
