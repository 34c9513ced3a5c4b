import assert from "node:assert/strict";
import { chownSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mountIdmapped, overlay } from "../../src/index.ts";
import { ask, root, sh } from "../support/child.ts";
import { type Container, startContainer } from "../support/container.ts";
import { failure } from "../support/errors.ts";
import { freshType, mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:unshare", "tool:nsenter"] as const;
/** The ID of the container's root on the host. The volume's files of 1000 on disk belong to it. */
const CONTAINER = "0:100000:65536";
const VOLUME = "1000:100000:1,0:165000:1";

/** The line of a mount point in the mountinfo of a process. */
function lineOf(pid: number | "self", point: string): string | undefined {
	const lines = readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n");
	return lines.find((line) => line.split(" ")[4] === point);
}

function inside(container: Container, ...command: string[]): string {
	return sh(
		"nsenter",
		"--target",
		`${container.pid}`,
		"--mount",
		"--user",
		"--root",
		"--setuid",
		"0",
		...command,
	);
}

async function withVolume(body: (folder: string, volume: string) => Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		const [volume = ""] = mkdirs(folder, "volume");
		writeFileSync(join(volume, "file"), "");
		for (const path of [volume, join(volume, "file")]) chownSync(path, 1000, 1000);
		await body(folder, volume);
	});
}

for (const way of ["pivot", "chroot"] as const) {
	for (const mapping of [undefined, CONTAINER]) {
		const name = `${way === "pivot" ? "pivot_root" : "chroot"}, ${mapping ? "its own user namespace" : "the host's user namespace"}`;
		test(`into a container (${name}): its processes see the volume, and the host does not`, { needs }, () =>
			withVolume(async (folder, volume) => {
				const container = await startContainer(folder, way, mapping);
				try {
					const mount = await mountIdmapped({
						source: volume,
						target: "/data",
						mapping: VOLUME,
						into: container.pid,
					});
					// The container's root is 0 with the map (100000 outside), and 100000 without a user namespace of
					// its own.
					assert.equal(statSync(`/proc/${container.pid}/root/data/file`).uid, 100000);
					if (way === "pivot") {
						const seen = mapping
							? inside(container, "stat", "-c", "%u:%g", "/data/file")
							: sh("nsenter", "-t", `${container.pid}`, "--mount", "stat", "-c", "%u:%g", "/data/file");
						assert.equal(seen.trim(), mapping ? "0:0" : "100000:100000");
					}
					const line = lineOf(container.pid, "/data") ?? "";
					assert.match(line, new RegExp(`,idmapped - ${freshType()} `));
					assert.doesNotMatch(line, /shared:|master:/);
					assert.equal(Number(line.split(" ")[0]), mount.mountId);
					assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes(`\n${mount.mountId} `));
					assert.equal(existsSync(join(container.root, "data/file")), false);
					assert.equal(existsSync("/data/file"), false);
					await assert.rejects(mount.attach("/data"), failure("ERR_USERNS_ATTACHED", /already/));
					await mount.unmount();
					assert.equal(lineOf(container.pid, "/data"), undefined);
					await mount.unmount();
				} finally {
					await container.end();
				}
			}),
		);
	}
}

test(
	"into the path of a mount namespace mounts below the namespace's root, with recursive and replace too",
	{
		needs: [...needs, "linux:6.5"],
	},
	() =>
		withVolume(async (folder, volume) => {
			const container = await startContainer(folder, "pivot", CONTAINER);
			try {
				const into = `/proc/${container.pid}/ns/mnt`;
				sh("mount", "-t", "tmpfs", "deep", mkdirs(volume, "deep")[0] as string);
				inside(container, "mount", "-t", "tmpfs", "old", "/data");
				const mount = await mountIdmapped({
					...{ source: volume, target: "/data", mapping: VOLUME, into, recursive: true, replace: true },
					...{ readonly: true, nosuid: true, nodev: true },
				});
				for (const path of ["/data", "/data/deep"]) {
					assert.match(lineOf(container.pid, path) ?? "", / ro,nosuid,nodev,relatime,idmapped - tmpfs /);
				}
				assert.equal(inside(container, "stat", "-c", "%u", "/data/file").trim(), "0");
				await mount.unmount();
				assert.equal(lineOf(container.pid, "/data"), undefined); // the old one was unmounted as well
				sh("umount", join(volume, "deep"));
			} finally {
				await container.end();
			}
		}),
);

test("a link in a container leads to a path in the container", { needs }, () =>
	withVolume(async (folder, volume) => {
		const container = await startContainer(folder, "pivot", CONTAINER);
		const base = { source: volume, mapping: VOLUME, into: container.pid };
		try {
			const viaLink = await mountIdmapped({ ...base, target: "/link" });
			assert.ok(lineOf(container.pid, "/real"));
			await viaLink.unmount();
			await assert.rejects(
				mountIdmapped({ ...base, target: "/link", resolve: "no-symlinks" }),
				failure("ERR_USERNS_MOUNT", /opening the target: ELOOP/),
			);
			// The container has no /etc, although the host has.
			await assert.rejects(
				mountIdmapped({ ...base, target: "/host-etc" }),
				failure("ERR_USERNS_MOUNT", /opening the target: ENOENT/),
			);
			const up = await mountIdmapped({ ...base, target: "../../../../data" });
			assert.ok(lineOf(container.pid, "/data"));
			// A mount that another program stacked on it is not unmounted there either.
			inside(container, "mount", "-t", "tmpfs", "top", "/data");
			await assert.rejects(
				up.unmount(),
				failure("ERR_USERNS_UNMOUNT", /other mounts are on it: tmpfs at \/data/),
			);
			inside(container, "umount", "/data");
			await up.unmount();
			// A magic link in the container's procfs leads out of the container.
			await assert.rejects(
				mountIdmapped({ ...base, target: `/proc/${process.pid}/root/tmp` }),
				failure("ERR_USERNS_MOUNT", /opening the target: ELOOP/),
			);
			assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes("idmapped"));
		} finally {
			await container.end();
		}
	}),
);

test("a namespace that cannot be opened or joined is an error, and nothing is attached", { needs }, () =>
	withVolume(async (folder, volume) => {
		const base = { source: volume, target: "/data", mapping: VOLUME };
		const before = readFileSync("/proc/self/mountinfo", "utf8");
		symlinkSync("/proc/self/ns/user", join(folder, "user"));
		const cases: [number | string, RegExp][] = [
			[2147483647, /of process 2147483647: finding the process: ESRCH/],
			["/proc/self/ns/user", /the file is not a mount namespace/],
			[join(folder, "user"), /the file is not a mount namespace/],
			[folder, /the file is not a mount namespace/],
			[join(folder, "none"), /ENOENT/],
		];
		for (const [into, message] of cases) {
			await assert.rejects(mountIdmapped({ ...base, into }), failure("ERR_USERNS_MOUNT_NAMESPACE", message));
		}
		assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
	}),
);

test(
	"a mount whose descriptor another program attached in the container is not moved there",
	{
		needs,
	},
	() =>
		withVolume(async (folder, volume) => {
			const container = await startContainer(folder, "pivot", CONTAINER);
			try {
				const given = await mountIdmapped({ source: volume, mapping: VOLUME });
				const addon = join(root, `prebuilds/userns.linux-${process.arch}.node`);
				ask(
					`import { createRequire } from "node:module";
				const addon = createRequire("/")(${JSON.stringify(addon)});
				const ns = addon.openNamespace("/proc/${container.pid}/ns/mnt", 0x20000, 0, false);
				const out = await addon.attach(3, 0, -1, "/data", 18, false, false, ${1 << 18}, ns.fd);
				addon.acknowledge(3);
				console.log(JSON.stringify(out.error));`,
					{ stdio: ["ignore", "pipe", "pipe", given.fd] },
				);
				assert.equal(Number((lineOf(container.pid, "/data") ?? "").split(" ")[0]), given.mountId);
				await assert.rejects(
					given.attach("/real", { into: container.pid }),
					failure("ERR_USERNS_ATTACHED", /already attached at \/data/),
				);
				const [here = ""] = mkdirs(folder, "here");
				await assert.rejects(given.attach(here), failure("ERR_USERNS_MOUNT", /attaching the mount: EINVAL/));
				assert.ok(lineOf(container.pid, "/data"));
				assert.equal(lineOf(container.pid, "/real"), undefined);
				given.close();
			} finally {
				await container.end();
			}
		}),
);

test("the mount outlives the process that into named, and unmount still reaches it", { needs }, () =>
	withVolume(async (folder, volume) => {
		const container = await startContainer(folder, "pivot", CONTAINER);
		const mount = await mountIdmapped({
			source: volume,
			target: "/data",
			mapping: VOLUME,
			into: container.pid,
		});
		const early = await mountIdmapped({ source: volume, mapping: VOLUME });
		await container.end();
		await assert.rejects(
			early.attach("/data", { into: container.pid }),
			failure("ERR_USERNS_MOUNT_NAMESPACE", /ESRCH/),
		);
		early.close();
		await mount.unmount();
	}),
);

test(
	"the root of a container with a user namespace undoes the attributes of a mount, but not of a read-only overlay",
	{
		needs: [...needs, "fs:overlay"],
	},
	() =>
		withVolume(async (folder, volume) => {
			const container = await startContainer(folder, "pivot", CONTAINER);
			const target = "/data";
			const [nothing = ""] = mkdirs(folder, "nothing");
			const write = () => inside(container, "sh", "-c", "echo x > /data/new").trim();
			try {
				// docs/security.md warns of this: the kernel locks no attribute of an attached mount, only of a copied
				// one.
				const mount = await mountIdmapped({
					source: volume,
					target,
					mapping: VOLUME,
					into: container.pid,
					readonly: true,
				});
				assert.throws(write, /Read-only file system/);
				inside(container, "mount", "-o", "remount,bind,rw", target);
				write();
				assert.equal(statSync(join(volume, "new")).uid, 1000);
				await mount.unmount();
				// docs/security.md recommends this.
				const layered = await overlay({
					lower: [volume, nothing],
					target,
					mapping: VOLUME,
					into: container.pid,
				});
				assert.equal(inside(container, "stat", "-c", "%u", "/data/file").trim(), "0");
				inside(container, "mount", "-o", "remount,bind,rw", target);
				assert.throws(write, /Read-only file system/);
				await layered.unmount();
				assert.equal(lineOf(container.pid, target), undefined);
			} finally {
				await container.end();
			}
		}),
);

test("a mount that is locked in the container stays, and stays a slave of the host's mount", { needs }, () =>
	withTmpfs(async (folder) => {
		sh("mount", "--make-shared", folder);
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const base = { source, target, mapping: "0:100000:65536", propagation: "shared" } as const;
		const mount = await mountIdmapped(base);
		// With its own user namespace, the container's copies of the host's mounts are locked.
		const answer = ask<string>(
			`import { spawn } from "node:child_process";
			import { once } from "node:events";
			import fs from "node:fs";
			const child = spawn("unshare", ["--user", "--map-root-user", "--mount", "--propagation", "slave", "sh", "-c", "echo ready; exec sleep 1000"], { stdio: ["ignore", "pipe", "inherit"] });
			await once(child.stdout, "data");
			const target = ${JSON.stringify(target)};
			const line = () => fs.readFileSync("/proc/" + child.pid + "/mountinfo", "utf8").split("\\n").find((each) => each.split(" ")[4] === target);
			const before = line();
			const error = await userns.unmountAsync(target, { into: child.pid }).then(() => "none", (e) => e.errnoCode);
			const after = line();
			child.kill("SIGKILL");
			console.log(JSON.stringify(/ master:/.test(before) ? error + (before === after ? "" : " " + after) : before));`,
		);
		await mount.unmount();
		assert.equal(answer, "EINVAL");
	}),
);
