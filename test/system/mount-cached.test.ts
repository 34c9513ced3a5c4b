import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { Handles, mountIdmapped, UserNamespace, type UsernsError } from "../../src/index.ts";
import { ask, root, sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const MAP = "0:100000:65536";

/** The mount calls of a mount and its unmount, each with "pool " before it if another thread made it. */
function traced(folder: string, options: string): string[] {
	return ask(
		`import { spawn } from "node:child_process";
		import { once } from "node:events";
		const FOLDER = ${JSON.stringify(folder)};
		const handles = new userns.Handles();
		handles.getSync("${MAP}").close();
		const whole = async () => (await userns.mountIdmapped(${options})).unmount();
		await whole();
		const calls = "openat2,open_tree,mount_setattr,move_mount,umount2,openat,?listmount";
		const tracer = spawn("strace", ["-f", "-e", "trace=" + calls, "-p", String(process.pid)], { stdio: ["ignore", "ignore", "pipe"] });
		let text = "";
		tracer.stderr.on("data", (chunk) => { text += chunk; });
		while (!/attached/.test(text)) await once(tracer.stderr, "data");
		await whole();
		tracer.kill("SIGINT");
		await once(tracer, "close");
		handles.release();
		const found = [];
		for (const line of text.split("\\n")) {
			const [, pid, call] = /^(?:\\[pid +(\\d+)\\] )?(\\w+)\\(/.exec(line) ?? [];
			// An older strace has no name for it.
			const name = call === "syscall_0x1ca" ? "listmount" : call;
			if (name !== undefined) found.push((pid === undefined || Number(pid) === process.pid ? "" : "pool ") + name);
		}
		console.log(JSON.stringify(found));`,
	);
}

test(
	"the event loop's thread makes no mount call, because another user could block it",
	{
		needs: [...needs, "tool:strace"],
	},
	() =>
		withTmpfs((folder) => {
			mkdirs(folder, "source", "target");
			const replacing = olderThan("6.5") === undefined ? ", replace: true" : "";
			for (const where of [
				"source: FOLDER + '/source', target: FOLDER + '/target'",
				"source: FOLDER + '/source', targetRoot: FOLDER, target: '/target', recursive: true",
				`source: FOLDER + '/source', target: FOLDER + '/target', propagation: 'shared'${replacing}`,
			]) {
				const calls = traced(folder, `{ ${where}, mapping: "${MAP}", handles }`);
				const elsewhere = ["open_tree", "mount_setattr", "move_mount", "umount2"];
				// The control: strace sees the calls.
				for (const call of elsewhere) assert.ok(calls.includes(`pool ${call}`), `${call}: ${calls.join()}`);
				const here = calls.filter((call) => !call.startsWith("pool "));
				// The look-up of a mount namespace and of mountinfo opens files of this package's own procfs.
				assert.deepEqual(
					here.filter((call) => call !== "openat"),
					[],
				);
			}
		}),
);

test("the cached and the general path make the same mount", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", first = "", second = ""] = mkdirs(folder, "source", "first", "second");
		const options = { source, mapping: MAP, readonly: true, noexec: true, atime: "noatime" } as const;
		using handles = new Handles();
		handles.getSync(MAP).close();
		using namespace = UserNamespace.createSync(MAP);
		const { mapping, ...others } = options;
		const mounts = [
			await mountIdmapped({ ...options, target: first, handles }),
			await mountIdmapped({ ...others, target: first, userns: namespace }),
			await mountIdmapped({ ...options, target: first }),
			await mountIdmapped({ ...options, target: "/second", targetRoot: folder }),
		];
		const shown = mounts.map(({ mountId, fd, mapping: map }) => ({
			mountId,
			uid: statSync(`/proc/self/fd/${fd}`).uid,
			map: map.id,
		}));
		// They are stacked, and the last one is visible.
		assert.equal(mountAt(first)?.id, mounts[2]?.mountId);
		assert.equal(mountAt(second)?.id, mounts[3]?.mountId);
		for (const { uid, map } of shown) assert.deepEqual([uid, map], [100000, mapping]);
		assert.equal(new Set(shown.map(({ mountId }) => mountId)).size, 4);
		assert.deepEqual(mountAt(first)?.options, mountAt(second)?.options);
		// The one below is covered, which unmount() notices with and without the whole table.
		await assert.rejects(
			(mounts[0] as (typeof mounts)[0]).unmount(),
			failure("ERR_USERNS_UNMOUNT", /other mounts are on it/),
		);
		for (const mount of mounts.reverse()) await mount.unmount();
		assert.equal(mountAt(first), undefined);
		assert.equal(mountAt(second), undefined);
	}),
);

test("the mount ID is available at any time, and source and target may be descriptors", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		using handles = new Handles();
		handles.getSync(MAP).close();
		const fds = [openSync(source, "r"), openSync(target, "r")] as const;
		try {
			for (const [from, at] of [
				[source, target],
				[source, fds[1]],
				[fds[0], target],
				[fds[0], fds[1]],
			] as const) {
				const first = await mountIdmapped({ source: from, target: at, mapping: MAP, handles });
				const number = mountAt(target)?.id;
				assert.ok(number !== undefined && first.target === at);
				await first.unmount();
				assert.equal(mountAt(target), undefined);
				assert.deepEqual([first.mountId, first.closed], [number, true]);
				const second = await mountIdmapped({ source: from, target: at, mapping: MAP, handles });
				second.close();
				assert.equal(second.mountId, mountAt(target)?.id);
				sh("umount", target);
			}
		} finally {
			for (const fd of fds) closeSync(fd);
		}
	}),
);

test("a wrong request fails with the same message with and without a cached namespace", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		using handles = new Handles();
		handles.getSync(MAP).close();
		const right = { source, target, mapping: MAP };
		const long = `/${"€".repeat(1400)}`;
		for (const wrong of [
			{ source: undefined },
			{ source: "" },
			{ source: "a\0b" },
			{ source: -1 },
			{ source: 1.5 },
			{ source: long },
			{ target: "" },
			{ target: null },
			{ target: Number.NaN },
			{ target: 2 ** 31 },
			{ target: long },
			{ mapping: undefined },
			{ mapping: "0:1" },
			{ mapping: {} },
			{ mapping: "u:0:100000:1" },
			{ another: 1 },
			{ userns: {} },
			{ source: `${folder}/none` },
			{ target: `${folder}/none` },
			{ source: "/proc" },
		]) {
			const words = [handles, undefined].map(async (cache) => {
				const options = { ...right, ...wrong, handles: cache } as Parameters<typeof mountIdmapped>[0];
				const error = await mountIdmapped(options).then(
					() => assert.fail(`${JSON.stringify(wrong)} was accepted`),
					(reason: UsernsError) => reason,
				);
				return [error.code, error.message, error.hint];
			});
			const [cached, uncached] = await Promise.all(words);
			assert.match(String(cached?.[0]), /^ERR_USERNS_/);
			assert.deepEqual(cached, uncached);
			assert.equal(mountAt(target), undefined);
		}
	}),
);

/** Runs in a separate process, because the test could not end if its own event loop were blocked. */
function waitingScript(options: { source: string; target: string }): string {
	return `const { Handles, mountIdmapped } = await import(${JSON.stringify(pathToFileURL(join(root, "dist/src/library/userns.js")))});
		const handles = new Handles();
		handles.getSync("${MAP}").close();
		let settled = false;
		const settle = () => { settled = true; };
		mountIdmapped({ ...${JSON.stringify(options)}, mapping: "${MAP}", handles }).then(settle, settle);
		let ticks = 0;
		setInterval(() => { if (++ticks === 20) console.log(settled ? "settled" : "waits"); }, 10);`;
}

/** The output of that process within ten seconds. The function waits for its end once nothing blocks it. */
async function says(
	options: { source: string; target: string },
	release: () => Promise<void>,
): Promise<string> {
	const child = spawn(process.execPath, ["--input-type=module", "-e", waitingScript(options)], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	const ended = once(child, "close");
	const limit = AbortSignal.timeout(10_000 * SLOWER);
	try {
		const [said] = await once(child.stdout, "data", { signal: limit });
		return String(said).trim();
	} catch (error) {
		if (!limit.aborted) throw error;
		return "the event loop stands still";
	} finally {
		child.kill("SIGKILL");
		await release();
		await ended;
	}
}

test(
	"a file system that does not answer blocks a thread of the pool, and never the event loop",
	{
		needs: [...needs, "tool:cc", "fs:fuse"],
		timeout: 60_000,
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", silent = ""] = mkdirs(folder, "source", "silent");
			const tools = mkdtempSync(join(tmpdir(), "userns-silent-"));
			try {
				sh("cc", "-O2", "-o", join(tools, "silent-fs"), join(root, "test/support/programs/silent-fs.c"));
				for (const options of [
					{ source, target: join(silent, "below") },
					{ source: join(silent, "below"), target: source },
				]) {
					const server = spawn(join(tools, "silent-fs"), [silent, "take"], {
						stdio: ["ignore", "pipe", "inherit"],
					});
					const gone = once(server, "close");
					await once(server.stdout, "data");
					// The wait ends with the FUSE connection.
					const said = await says(options, async () => {
						server.kill("SIGKILL");
						await gone;
						sh("umount", "-l", silent);
					});
					assert.equal(said, "waits");
				}
			} finally {
				rmSync(tools, { recursive: true });
			}
		}),
);

test("an acknowledged mount stays when its worker ends without an unmount", { needs }, () =>
	withTmpfs(async (folder) => {
		mkdirs(folder, "source", "quick", "long");
		const [quick, long] = [join(folder, "quick"), join(folder, "long")];
		const worker = new Worker(
			`const { workerData } = require("node:worker_threads");
			import(workerData.index).then(async ({ Handles, mountIdmapped }) => {
				const { source, mapping, quick, long } = workerData;
				const handles = new Handles();
				handles.getSync(mapping).close();
				await mountIdmapped({ source, target: quick, mapping, handles });
				await mountIdmapped({ source, target: long, mapping, handles, recursive: true });
				process.exit();
			});`,
			{
				eval: true,
				workerData: {
					index: pathToFileURL(join(root, "dist/src/library/userns.js")).href,
					source: join(folder, "source"),
					mapping: MAP,
					quick,
					long,
				},
			},
		);
		await once(worker, "exit");
		// lifecycle/death.test.ts has the control: no mount stays of a worker that is terminated before it has the
		// result.
		assert.deepEqual([mountAt(quick) !== undefined, mountAt(long) !== undefined], [true, true]);
		for (const path of [quick, long]) sh("umount", path);
	}),
);
