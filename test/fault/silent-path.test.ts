import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
	doctor,
	explain,
	pinAsync,
	supports,
	UserNamespace,
	UsernsError,
	unmount,
	unmountAsync,
} from "../../src/index.ts";
import { root, sh } from "../support/child.ts";
import { pidfds } from "../support/leaks.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:cc", "fs:fuse"] as const;

/** The children that the kernel blocks end with the server, and each look-up reaps those that have ended. */
async function reapHeld(folder: string): Promise<void> {
	for (let i = 0; i < 100 && (i === 0 || pidfds() > 0); i++) {
		await sleep(20);
		await supports(folder);
	}
}

/** A folder with a FUSE file system at /silent whose server reads every request and answers none (silent-fs.c). */
function withSilent(body: (folder: string, server: ChildProcess) => Promise<void>): Promise<void> {
	return withTmpfs(async (folder) => {
		const tools = mkdtempSync(join(tmpdir(), "userns-silent-"));
		const [silent = ""] = mkdirs(folder, "silent");
		let server: ChildProcess | undefined;
		try {
			sh("cc", "-O2", "-o", join(tools, "silent-fs"), join(root, "test/support/programs/silent-fs.c"));
			server = spawn(join(tools, "silent-fs"), [silent, "take"], { stdio: ["ignore", "pipe", "inherit"] });
			await once(server.stdout as NonNullable<typeof server.stdout>, "data");
			await body(folder, server);
		} finally {
			server?.kill("SIGKILL");
			if (server !== undefined && server.exitCode === null && server.signalCode === null)
				await once(server, "close");
			await reapHeld(folder);
			rmSync(tools, { recursive: true });
		}
	});
}

/** The result of the call, and how many milliseconds it took. */
async function end(work: Promise<unknown>): Promise<[error: UsernsError, milliseconds: number]> {
	const start = Date.now();
	try {
		await work;
	} catch (error) {
		assert.ok(error instanceof UsernsError, String(error));
		return [error, Date.now() - start];
	}
	throw new Error("it came to an end");
}

test(
	"each look-up fails if a file system on the path does not answer, and does not block the event loop",
	{
		needs,
		timeout: 120_000,
	},
	() =>
		withSilent(async (folder) => {
			const silent = join(folder, "silent");
			const ns = UserNamespace.createSync("0:100000:10");
			const table = readFileSync("/proc/self/mountinfo", "utf8");
			let longest = 0;
			let last = Date.now();
			const clock = setInterval(() => {
				longest = Math.max(longest, Date.now() - last);
				last = Date.now();
			}, 20);
			const ends = await Promise.all(
				[
					unmountAsync(join(silent, "mount")),
					unmountAsync("/data", { into: join(silent, "ns") }),
					pinAsync(ns, join(silent, "below/ns")),
					pinAsync(ns, join(silent, "ns")), // a mount of the root itself would hold it
					supports(join(silent, "file")),
					supports("file", { targetRoot: join(silent, "root") }),
					UserNamespace.openAsync(join(silent, "ns")),
					explain(join(silent, "file")),
					explain(silent, { as: "1000" }),
					doctor({ path: join(silent, "file") }),
				].map(end),
			);
			clearInterval(clock);
			ns.close();
			assert.deepEqual(
				ends.map(([{ code, errnoCode }]) => [code, errnoCode]),
				[
					"UNMOUNT",
					"MOUNT_NAMESPACE",
					"PIN",
					"PIN",
					"MOUNT",
					"MOUNT",
					"OPEN",
					"EXPLAIN",
					"EXPLAIN",
					"MOUNT",
				].map((code) => [`ERR_USERNS_${code}`, "ETIMEDOUT"]),
			);
			for (const [error, milliseconds] of ends) {
				assert.match(error.hint ?? "", /within ten seconds/);
				assert.ok(milliseconds < 40_000, `${milliseconds} ms`); // two rounds, because four threads share the calls
			}
			assert.ok(longest < 1000, `the event loop was held for ${longest} ms`);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), table);
		}),
);

test(
	"the synchronous unmount fails too, and leaves nothing after the file system has ended",
	{ needs, timeout: 60_000 },
	() =>
		withSilent(async (folder, server) => {
			assert.equal(pidfds(), 0);
			assert.throws(() => unmount(join(folder, "silent/mount")), {
				code: "ERR_USERNS_UNMOUNT",
				errnoCode: "ETIMEDOUT",
			});
			assert.equal(pidfds(), 1, "of the child that the kernel holds");
			server.kill("SIGKILL");
			await once(server, "close");
			await reapHeld(folder);
			assert.equal(pidfds(), 0);
		}),
);

test("doctor --try ends if the file system does not answer", { needs, timeout: 120_000 }, () =>
	withSilent(async (folder) => {
		const silent = join(folder, "silent");
		const command = join(root, "dist/src/cli/userns.js");
		const child = spawn(process.execPath, [command, "doctor", "--for", "spawn", "--try", silent], {
			stdio: ["ignore", "ignore", "pipe"],
		});
		let said = "";
		child.stderr.setEncoding("utf8").on("data", (text) => {
			said += text;
		});
		// Not "close": the process that tries has the pipe too, and the kernel keeps it until the server answers or ends.
		const [status] = await once(child, "exit");
		assert.equal(status, 2);
		assert.match(said, /^userns: cannot try ".*silent": no result within 10 seconds/);
	}),
);
