import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Handles, mountIdmapped, UserNamespace } from "../../src/index.ts";
import { ask, root, sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const MAP = "0:100000:65536";

/** The calls about mounts of a mount and its end, each with "pool " before it when another thread made it. */
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
	"the ordinary mount and its end are nine calls of the calling thread, and read no table",
	{
		needs: [...needs, "tool:strace"],
	},
	() =>
		withTmpfs((folder) => {
			mkdirs(folder, "source", "target");
			const place = "source: FOLDER + '/source', target: FOLDER + '/target'";
			const quick = [
				"openat2",
				"open_tree",
				"mount_setattr",
				"openat2",
				"move_mount",
				"mount_setattr",
				"listmount",
				"umount2",
				"listmount",
			];
			assert.deepEqual(traced(folder, `{ ${place}, mapping: "${MAP}", handles }`), quick);
			const below = "source: FOLDER + '/source', targetRoot: FOLDER, target: '/target'";
			const longer = traced(folder, `{ ${below}, mapping: "${MAP}", handles }`);
			assert.ok(longer.includes("pool open_tree") && longer.includes("pool move_mount"), longer.join());
		}),
);

test("it is the same mount whichever way it was made", { needs }, () =>
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
		// On top of each other, the last one is what is seen.
		assert.equal(mountAt(first)?.id, mounts[2]?.mountId);
		assert.equal(mountAt(second)?.id, mounts[3]?.mountId);
		for (const { uid, map } of shown) assert.deepEqual([uid, map], [100000, mapping]);
		assert.equal(new Set(shown.map(({ mountId }) => mountId)).size, 4);
		assert.deepEqual(mountAt(first)?.options, mountAt(second)?.options);
		// The one below is covered, which unmount() sees with and without the whole table.
		await assert.rejects(
			(mounts[0] as (typeof mounts)[0]).unmount(),
			failure("ERR_USERNS_UNMOUNT", /something else was mounted on it/),
		);
		for (const mount of mounts.reverse()) await mount.unmount();
		assert.equal(mountAt(first), undefined);
		assert.equal(mountAt(second), undefined);
	}),
);

test(
	"a file system that does not answer holds a thread of the pool, and never the event loop",
	{
		needs: [...needs, "tool:cc", "fs:fuse"],
		timeout: 60_000,
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", silent = ""] = mkdirs(folder, "source", "silent");
			const tools = mkdtempSync(join(tmpdir(), "userns-silent-"));
			sh("cc", "-O2", "-o", join(tools, "silent-fs"), join(root, "test/support/silent-fs.c"));
			const server = spawn(join(tools, "silent-fs"), [silent, "take"], {
				stdio: ["ignore", "pipe", "inherit"],
			});
			try {
				await once(server.stdout as NonNullable<typeof server.stdout>, "data");
				using handles = new Handles();
				handles.getSync(MAP).close();
				for (const options of [
					{ source, target: join(silent, "below") },
					{ source: join(silent, "below"), target: source },
				]) {
					let settled = false;
					const mounting = mountIdmapped({ ...options, mapping: MAP, handles });
					const outcome = mounting.then(
						() => "mounted",
						(error: unknown) => error,
					);
					void outcome.then(() => {
						settled = true;
					});
					let ticks = 0;
					const clock = setInterval(() => ticks++, 10);
					while (ticks < 20) await new Promise((resolve) => setTimeout(resolve, 10));
					clearInterval(clock);
					assert.equal(settled, false, "it waits");
				}
			} finally {
				// The end of the connection ends the waiting.
				const gone = once(server, "close");
				server.kill("SIGKILL");
				await gone;
				rmSync(tools, { recursive: true });
				sh("umount", "-l", silent);
			}
		}),
);
