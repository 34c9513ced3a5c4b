import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { root, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

/*
 * An unprivileged user, who can only read the target's directory, holds the directory's lock. move_mount(2) waits for
 * the lock, and no signal ends that wait.
 */

const needs = [
	"linux",
	"root",
	"mounts",
	"user",
	"tool:cc",
	"tool:setpriv",
	"fs:fuse",
	"linux:6.15",
] as const;
const MAP = "0:100000:65536";
const HELD = ["held-1", "held-2", "held-3", "held-4"];

interface Stage {
	folder: string;
	/** Releases the directories. */
	release: () => Promise<void>;
}

async function withHeld(body: (stage: Stage) => Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		const paths = mkdirs(folder, ...HELD);
		mkdirs(folder, "source", "free");
		sh("chmod", "755", folder, ...paths);
		const fuse = join(folder, "fuse");
		sh("mknod", "-m", "666", fuse, "c", "10", "229");
		const program = join(folder, "hold-directory");
		sh("cc", "-O2", "-D_GNU_SOURCE", "-o", program, join(root, "test/support/programs/hold-directory.c"));
		const as = ["setpriv", `--reuid=${OTHER_UID}`, `--regid=${OTHER_UID}`, "--clear-groups"];
		for (const path of paths) assert.equal(statSync(path).uid, 0, "the attacker owns nothing");
		const [command = "", ...args] = [...as, program, fuse, ...paths];
		const holder = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
		const closed = once(holder, "close");
		const [said] = await once(holder.stdout as NonNullable<typeof holder.stdout>, "data");
		assert.match(`${said}`, /held/);
		const release = async () => {
			holder.kill("SIGKILL");
			await closed;
		};
		try {
			await body({ folder, release });
		} finally {
			await release();
		}
	});
}

/** A process that mounts at each of the held directories. `then` runs meanwhile, and prints its result as JSON. */
function start(folder: string, then: string): ChildProcess {
	const script = `const userns = await import(${JSON.stringify(pathToFileURL(join(root, "dist/src/library/userns.js")))});
		const fs = await import("node:fs");
		const folder = ${JSON.stringify(folder)}, mapping = "${MAP}", source = folder + "/source";
		const handles = new userns.Handles();
		handles.getSync(mapping).close();
		const held = ${JSON.stringify(HELD)}.map((name) => userns.mountIdmapped({ source, target: folder + "/" + name, mapping, handles }).then(() => "mounted", (error) => error.code + " " + error.errnoCode + ": " + error.hint));
		${then}`;
	return spawn(process.execPath, ["--input-type=module", "-e", script], {
		stdio: ["ignore", "pipe", "inherit"],
	});
}

async function ask<T>(folder: string, then: string): Promise<T> {
	const child = start(folder, then);
	let text = "";
	(child.stdout as NonNullable<typeof child.stdout>).on("data", (chunk) => {
		text += chunk;
	});
	const [status] = await once(child, "close");
	assert.equal(status, 0, text);
	return JSON.parse(text) as T;
}

function mountsIn(folder: string): string[] {
	return readFileSync("/proc/self/mountinfo", "utf8")
		.split("\n")
		.map((line) => line.split(" ")[4] ?? "")
		.filter((path) => path.startsWith(`${folder}/`));
}

test(
	"while a user holds target directories, other work continues, the mounts fail, and no mount appears later",
	{ needs, timeout: 120_000 },
	() =>
		withHeld(async ({ folder, release }) => {
			const before = mountsIn(folder);
			const found = await ask<Record<string, unknown>>(
				folder,
				`const rounds = [];
			let worst = 0;
			let last = performance.now();
			const timer = setInterval(() => { const now = performance.now(); worst = Math.max(worst, now - last); last = now; }, 20);
			// Other work of the process, until the mounts have failed.
			let over = false;
			const all = Promise.all(held).then((results) => { over = true; return results; });
			while (!over) {
				const done = [];
				await fs.promises.stat("/");
				done.push("fs.promises");
				(await handles.get("0:" + (200000 + rounds.length) + ":1")).close();
				done.push("get");
				const mount = await userns.mountIdmapped({ source, target: folder + "/free", mapping, handles });
				await mount.unmount();
				done.push("mount");
				rounds.push(done);
				await new Promise((resolve) => setTimeout(resolve, 100));
			}
			clearInterval(timer);
			handles.release();
			console.log(JSON.stringify({ results: await all, rounds: rounds.length, worst }));
			process.exit();`,
			);
			for (const result of found.results as string[]) {
				assert.match(result, /^ERR_USERNS_MOUNT ETIMEDOUT: .*a process with the directory's lock/);
			}
			// Ten seconds, with pauses of 0.1 s. A round that waited for a lock would have stopped all later ones.
			assert.ok((found.rounds as number) > 10, `${found.rounds} rounds`);
			assert.ok((found.worst as number) < 3000, `no timer for ${found.worst} ms`);
			assert.deepEqual(mountsIn(folder), before);
			await release();
			// Now the kernel ends the waits.
			await sleep(500);
			assert.deepEqual(mountsIn(folder), before, "a mount appeared after its error");
		}),
);

for (const [name, end] of [
	["process.exit()", "process.exit();"],
	["SIGKILL", "process.kill(process.pid, 'SIGKILL');"],
] as const) {
	test(`${name} does not wait for target directories that a user holds`, { needs, timeout: 120_000 }, () =>
		withHeld(async ({ folder, release }) => {
			const before = mountsIn(folder);
			const child = start(folder, `setTimeout(() => { console.log("ends"); ${end} }, 500);`);
			const closed = once(child, "close");
			await once(child.stdout as NonNullable<typeof child.stdout>, "data");
			const limit = sleep(5000, "waits", { ref: false });
			assert.notEqual(await Promise.race([closed, limit]), "waits");
			await closed;
			await release();
			await sleep(500);
			const later = mountsIn(folder).filter((path) => !before.includes(path));
			// A process that was killed leaves no process that could unmount: docs/security.md.
			if (name === "process.exit()") assert.deepEqual(later, []);
			const table = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
			for (const path of later) {
				const own = table.filter((line) => line.split(" ")[4] === path);
				assert.equal(own.length, 1, path);
				assert.match(own[0] ?? "", / rw,relatime,idmapped - tmpfs /, "whole: mapped and private");
				sh("umount", path);
			}
			assert.deepEqual(mountsIn(folder), before);
		}),
	);
}

test(
	"worker.terminate() does not wait for target directories that a user holds, and no mount appears later",
	{ needs, timeout: 120_000 },
	() =>
		withHeld(async ({ folder, release }) => {
			const before = mountsIn(folder);
			const worker = `const { parentPort } = require("node:worker_threads");
			import(${JSON.stringify(pathToFileURL(join(root, "dist/src/library/userns.js")))}).then((userns) => {
				for (const name of ${JSON.stringify(HELD)}) userns.mountIdmapped({ source: ${JSON.stringify(`${folder}/source`)}, target: ${JSON.stringify(folder)} + "/" + name, mapping: "${MAP}" }).catch(() => {});
				setTimeout(() => parentPort.postMessage("mounts"), 500);
			});`;
			const { Worker } = await import("node:worker_threads");
			const thread = new Worker(worker, { eval: true });
			await once(thread, "message");
			const limit = sleep(5000, "waits", { ref: false });
			assert.notEqual(await Promise.race([thread.terminate(), limit]), "waits");
			await release();
			await sleep(500);
			assert.deepEqual(mountsIn(folder), before);
			// The next mount reaps the children that were left.
			const { mountIdmapped } = await import("../../src/index.ts");
			const options = { source: join(folder, "source"), target: join(folder, "free"), mapping: MAP };
			await (await mountIdmapped(options)).unmount();
		}),
);
