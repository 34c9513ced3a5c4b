import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
	chmodSync,
	copyFileSync,
	cpSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountIdmapped, UserNamespace, unmount } from "../../src/index.ts";
import { ask, packageForAll, root, sh } from "../support/child.ts";
import { type Container, startContainer } from "../support/container.ts";
import { failure } from "../support/errors.ts";
import { pidfds } from "../support/leaks.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = [
	"linux",
	"root",
	"mounts",
	"tool:cc",
	"tool:unshare",
	"tool:nsenter",
	"tool:prlimit",
	"fs:fuse",
] as const;
/** With this limit timer_create(2) fails with EAGAIN, and a child must end without a timer. */
const NO_TIMERS = ["prlimit", "--sigpending=0"];
const descriptors = () => readdirSync("/proc/self/fd").length;

/** A container with a file system at /real that does not answer (silent-fs.c). `work` may end its server. */
function withSilent(
	way: string[],
	work: (container: Container, server: ChildProcess, volume: string) => Promise<void>,
): Promise<void> {
	return withTmpfs(async (folder) => {
		const tools = mkdtempSync(join(tmpdir(), "userns-silent-"));
		const container = await startContainer(folder, "pivot");
		let server: ChildProcess | undefined;
		const [volume = ""] = mkdirs(folder, "volume");
		try {
			sh("cc", "-O2", "-o", join(tools, "silent-fs"), join(root, "test/support/programs/silent-fs.c"));
			// The test makes /dev/fuse, because the container has no /dev.
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
			await work(container, server, volume);
		} finally {
			server?.kill("SIGKILL"); // it would keep the container's mounts
			await container.end();
			rmSync(tools, { recursive: true });
		}
	});
}

async function end(server: ChildProcess): Promise<void> {
	server.kill("SIGKILL");
	if (server.exitCode === null && server.signalCode === null) await once(server, "close");
}

for (const [name, ...way] of [
	...(process.env.USERNS_LONG === "1" ? [["never answers"]] : []), // each waits ten seconds
	["takes every request and never answers, so that no signal ends the wait", "take"],
]) {
	test(
		`a mount into and from a container whose file system ${name} fails after its time limit and leaves nothing`,
		{ needs },
		() =>
			withSilent(way, async (container, server, volume) => {
				const table = () => readFileSync(`/proc/${container.pid}/mountinfo`, "utf8");
				const before = table();
				const early = descriptors();
				const options = { source: volume, mapping: "0:1:1", into: container.pid };
				// The pidfd of the child that no signal ends, until the child has ended.
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
				assert.equal(descriptors(), early + held);
				const fine = await mountIdmapped({ ...options, target: "/data" });
				await fine.unmount();
				const begin = Date.now();
				ticks = 0;
				const again = setInterval(() => ticks++, 100);
				const from = { from: container.pid, owner: { uid: 1, gid: 1 } };
				await assert.rejects(
					mountIdmapped({ ...from, source: "/real/below" }),
					failure("ERR_USERNS_MOUNT", /opening the source: ETIMEDOUT/),
				);
				clearInterval(again);
				assert.ok(Date.now() - begin < 30_000);
				assert.ok(ticks > 50, "the event loop went on");
				assert.equal(descriptors(), early + 2 * held);
				// Nothing asks the server for the owner of its root directory.
				await assert.rejects(
					mountIdmapped({ ...from, source: "/real" }),
					failure("ERR_USERNS_MOUNT", /setting the map and the attributes: EINVAL/),
				);
				if (process.env.USERNS_LONG === "1") {
					assert.throws(
						() => unmount("/real/below", { into: container.pid }),
						failure("ERR_USERNS_UNMOUNT", /ETIMEDOUT/),
					);
					assert.equal(descriptors(), early + 3 * held);
				}
				await end(server);
				// Each blocked child ends some time after the server, and the next mount reaps it. The end of the test looks for zombies.
				const until = Date.now() + 10_000;
				do await (await mountIdmapped({ ...options, target: "/data" })).unmount();
				while (pidfds() > 0 && Date.now() < until);
			}),
	);
}

// Only in the long form, because it waits half a minute.
if (process.env.USERNS_LONG === "1") {
	test(
		"a descriptor that the file system returns only after the child was killed does not reach this process",
		{ needs },
		() =>
			withSilent(["late"], async (container, server, volume) => {
				const early = descriptors();
				assert.throws(
					() => unmount("/real/below", { into: container.pid }),
					failure("ERR_USERNS_UNMOUNT", /ETIMEDOUT/),
				);
				const [answer] = await once(server.stdout as NonNullable<typeof server.stdout>, "data");
				assert.match(String(answer), /answered/);
				await (
					await mountIdmapped({ source: volume, mapping: "0:1:1", into: container.pid, target: "/data" })
				).unmount();
				assert.equal(descriptors(), early, "with its child reaped by the work that followed");
				await end(server);
			}),
	);

	test(
		"no descriptor reaches this process after setuid(2) either, when it may no longer kill the child",
		{
			needs,
		},
		() =>
			withSilent(["late"], async (container, server, volume) => {
				const table = () => readFileSync(`/proc/${container.pid}/mountinfo`, "utf8");
				const before = table();
				const options = { source: volume, mapping: "0:1:1", into: container.pid, target: "/real/below" };
				const said = ask<string>(
					`const said = userns.mountIdmapped(${JSON.stringify(options)}).then(() => "attached", (error) => error.errnoCode);
				await new Promise((next) => setTimeout(next, 500));
				process.setuid(${OTHER_UID});
				const words = await said;
				await new Promise((next) => setTimeout(next, 6000)); // until the file system has answered
				console.log(JSON.stringify(words));`,
					{ prefix: NO_TIMERS },
				);
				assert.equal(said, "ETIMEDOUT");
				assert.equal(table(), before);
				await end(server);
			}),
	);

	test("a join process that its namespace has stopped ends after setuid(2) too", {
		needs,
	}, async () => {
		const folder = mkdtempSync(join(tmpdir(), "userns-stopped-"));
		const namespace = await UserNamespace.create("0:100000:10");
		const inside = namespace.spawn("sleep", ["1000"]);
		try {
			const copy = join(folder, "package");
			cpSync(packageForAll(), copy, { recursive: true });
			// It stops as soon as it has joined, as root of the namespace can cause.
			for (const part of ["native", "node_modules/node-api-headers"])
				cpSync(join(root, part), join(copy, part), { recursive: true });
			const file = join(copy, "native/programs/userns-join.c");
			const source = readFileSync(file, "utf8");
			const joined = "raw_syscall3(SYS_prctl, PR_SET_PDEATHSIG";
			assert.ok(source.includes(joined));
			const stop = "raw_syscall3(SYS_kill, raw_syscall3(SYS_getpid, 0, 0, 0), 19, 0);";
			writeFileSync(file, source.replace(joined, `${stop}\n\t${joined}`));
			sh(process.execPath, join(copy, "scripts/build-native.mjs"));
			const { settled, children } = ask<{ settled: string; children: string }>(
				`import fs from "node:fs";
				const other = await import(${JSON.stringify(join(copy, "dist/src/library/userns.js"))});
				const ns = other.UserNamespace.open("/proc/${inside.pid}/ns/user");
				const said = ns.mapping().then(() => "read", (error) => error.errnoCode);
				await new Promise((next) => setTimeout(next, 500));
				process.setuid(${OTHER_UID});
				const settled = await Promise.race([said, new Promise((next) => setTimeout(next, 20_000, "nothing"))]);
				const children = readChildren().join(" ");
				console.log(JSON.stringify({ settled, children }));
				process.reallyExit(0); // which waits for no thread`,
				{ prefix: NO_TIMERS },
			);
			assert.equal(settled, "ETIMEDOUT");
			assert.equal(children, "");
		} finally {
			inside.kill("SIGKILL");
			namespace.close();
			rmSync(folder, { recursive: true });
		}
	});

	test(
		"a mount that is reported as not attached is not attached later",
		{
			needs: [...needs, "linux:6.15"],
		},
		() =>
			withSilent(["hold"], async (container, server, volume) => {
				const table = () => readFileSync(`/proc/${container.pid}/mountinfo`, "utf8");
				const [before, early] = [table(), descriptors()];
				// The file system's root directory, which is locked while a directory is made in it.
				const options = { source: volume, mapping: "0:1:1", into: container.pid };
				await assert.rejects(
					mountIdmapped({ ...options, target: "/real" }),
					failure("ERR_USERNS_MOUNT", /working in the mount namespace: ETIMEDOUT/),
				);
				await once(server.stdout as NonNullable<typeof server.stdout>, "data");
				await (await mountIdmapped({ ...options, target: "/data" })).unmount();
				assert.equal(table(), before);
				assert.equal(descriptors(), early);
				await end(server);
			}),
	);
}
