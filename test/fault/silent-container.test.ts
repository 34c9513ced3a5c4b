import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountIdmapped, unmount } from "../../src/index.ts";
import { root, sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

for (const [name, ...way] of [
	["never answers"],
	["takes every request and never answers, so that no signal ends the wait", "take"],
]) {
	test(
		`a file system of the container that ${name} is given up on, and nothing is left`,
		{
			needs: ["linux", "root", "mounts", "tool:cc", "tool:unshare", "tool:nsenter", "fs:fuse"],
		},
		() =>
			withTmpfs(async (folder) => {
				const tools = mkdtempSync(join(tmpdir(), "userns-silent-"));
				const container = await startContainer(folder, "pivot");
				let server: ChildProcess | undefined;
				const [volume = ""] = mkdirs(folder, "volume");
				try {
					sh("cc", "-O2", "-o", join(tools, "silent-fs"), join(root, "test/support/silent-fs.c"));
					// Its own /dev/fuse: the container has no /dev.
					const inside = `/proc/${container.pid}/root`;
					sh("mknod", join(inside, "fuse"), "c", "10", "229");
					sh("mkdir", join(inside, "dev"));
					sh("mv", join(inside, "fuse"), join(inside, "dev/fuse"));
					copyFileSync(join(tools, "silent-fs"), join(inside, "silent-fs"));
					chmodSync(join(inside, "silent-fs"), 0o755);
					server = spawn("nsenter", ["-t", `${container.pid}`, "--mount", "/silent-fs", "/real", ...way], {
						stdio: ["ignore", "pipe", "inherit"],
					});
					await once(server.stdout as NonNullable<typeof server.stdout>, "data");
					const table = () => readFileSync(`/proc/${container.pid}/mountinfo`, "utf8");
					const before = table();
					const [early, late] = [
						readdirSync("/proc/self/fd").length,
						() => readdirSync("/proc/self/fd").length,
					];
					const options = { source: volume, mapping: "0:1:1", into: container.pid };
					// The pidfd of the child that no signal ends, until it has ended.
					const held = way.length;
					const start = Date.now();
					let ticks = 0;
					const clock = setInterval(() => ticks++, 100);
					await assert.rejects(
						mountIdmapped({ ...options, target: "/real/below" }),
						failure("ERR_USERNS_MOUNT", /working in the mount namespace: ETIMEDOUT/),
					);
					clearInterval(clock);
					assert.ok(Date.now() - start < 30_000);
					assert.ok(ticks > 50, "the event loop went on");
					assert.equal(table(), before);
					assert.equal(late(), early + held);
					const fine = await mountIdmapped({ ...options, target: "/data" });
					await fine.unmount();
					if (process.env.USERNS_LONG === "1") {
						assert.throws(
							() => unmount("/real/below", { into: container.pid }),
							failure("ERR_USERNS_UNMOUNT", /ETIMEDOUT/),
						);
						assert.equal(late(), early + 2 * held);
					}
					server.kill("SIGKILL");
					if (server.exitCode === null && server.signalCode === null) await once(server, "close");
					// A child that was held up has ended with the server, and is reaped by the next work of its kind.
					await (await mountIdmapped({ ...options, target: "/data" })).unmount();
				} finally {
					server?.kill("SIGKILL"); // it would keep the container's mounts
					await container.end();
					rmSync(tools, { recursive: true });
				}
			}),
	);
}
