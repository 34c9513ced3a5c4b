import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { unmount } from "../../src/index.ts";
import { packageForAll, runScript } from "../support/child.ts";
import { host, hosted } from "../support/ids.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "ids"] as const;

function worker(body: string): Worker {
	const index = join(packageForAll(), "dist/src/library/userns.js");
	const code = `const { parentPort } = require("node:worker_threads");
		import(${JSON.stringify(index)}).then(async (userns) => {${body}});`;
	return new Worker(code, { eval: true });
}

test("several worker threads create at once, each with its own handles", { needs }, async () => {
	const workers = Array.from({ length: 4 }, (_, i) =>
		worker(`const handles = new userns.Handles(); const ids = [];
			for (let n = 0; n < 25; n++) {
				const map = "0:" + (${host(100000)} + n) + ":1";
				const [a, b] = await Promise.all([handles.get(map), handles.get(map)]);
				const c = userns.UserNamespace.createSync(map);
				if (!a.equals(b) || a.equals(c)) throw new Error("mixed up");
				ids.push((await userns.UserNamespace.open("/proc/self/fd/" + a.fd).mapping()).id === map);
				a.close(); b.close(); c.close();
			}
			handles.release(); parentPort.postMessage({ worker: ${i}, right: ids.filter(Boolean).length });`),
	);
	const answers = await Promise.all(
		workers.map(async (each) => {
			const exit = once(each, "exit"); // from now on, because it can follow the message at once
			const [message] = (await once(each, "message")) as [{ right: number }];
			await exit;
			return message.right;
		}),
	);
	// This list has no descriptor that a worker left open: the leak check around the test finds those.
	assert.deepEqual(answers, [25, 25, 25, 25]);
});

test("a worker that is terminated during creations leaves no descriptor and no process", {
	needs,
}, async () => {
	for (const delay of [0, 1, 2, 5, 10]) {
		const each = worker(`parentPort.postMessage("started"); const handles = new userns.Handles();
			const held = [];
			for (let n = 0; ; n++) held.push(await Promise.all([handles.get("0:" + (${host(1)} + n) + ":1"), userns.UserNamespace.create("${hosted("0:1:1")}")]));`);
		await once(each, "message");
		await sleep(delay);
		await each.terminate();
	}
});

test("a worker that is terminated while it reads mappings and mounts leaves nothing", {
	needs: ["linux", "root", "mounts"],
}, async () => {
	for (const delay of [0, 1, 3, 8]) {
		const each =
			worker(`const ns = userns.UserNamespace.createSync("0:100:1"); parentPort.postMessage("started");
			for (;;) await Promise.all([
				userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mapping(),
				userns.mountIdmapped({ source: "/tmp", userns: ns }),
			]);`);
		await once(each, "message");
		await sleep(delay);
		await each.terminate();
	}
});

test(
	"a worker that is terminated while it attaches leaves a whole mount or none",
	{
		needs: ["linux", "root", "mounts"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			for (let delay = 0; delay < 12; delay++) {
				const each = worker(`const handles = new userns.Handles(); handles.getSync("0:100:1").close();
				parentPort.postMessage("started");
				for (;;) {
					const mount = await userns.mountIdmapped({ source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)},
						mapping: "0:100:1", handles, readonly: true, nosuid: true });
					await mount.unmount();
				}`);
				await once(each, "message");
				await sleep(delay);
				await each.terminate();
				const entry = mountAt(target);
				if (entry === undefined) continue;
				for (const word of ["ro", "nosuid", "idmapped"]) assert.ok(entry.options.includes(word), word);
				assert.deepEqual(entry.optional, []);
				assert.deepEqual(unmount(target), { path: target, kind: "idmapped mount" });
			}
			assert.equal(mountAt(target), undefined);
		}),
);

test("the descriptors that a worker holds are closed when it ends", { needs }, async () => {
	const each = worker(
		`globalThis.held = await new userns.Handles().get("${hosted("0:1:1")}"); parentPort.postMessage(held.fd);`,
	);
	const exit = once(each, "exit");
	const [fd] = (await once(each, "message")) as [number];
	assert.ok(fd > 2);
	await exit;
});

/** Every process that has the word in its command line. A creation process has the command line of its parent. */
function processesWith(word: string): string[] {
	return readdirSync("/proc").filter((pid) => {
		if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
		try {
			return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(word);
		} catch {
			return false;
		}
	});
}

test("a process that is killed while it creates leaves no creation process", { needs }, async () => {
	const index = join(packageForAll(), "dist/src/library/userns.js");
	for (let round = 0; round < 10; round++) {
		const word = `marker-${process.pid}-${round}`;
		const code = `const u = await import(${JSON.stringify(index)}); console.log("ready");
			for (;;) { u.UserNamespace.createSync("${hosted("0:1:1")}").close(); }`;
		const child = spawn(process.execPath, ["--input-type=module", "-e", code, word], {
			stdio: ["ignore", "pipe", "inherit"],
		});
		await once(child.stdout, "data");
		await sleep(round * 2);
		assert.ok(processesWith(word).length >= 1);
		child.kill("SIGKILL");
		await once(child, "close");
		for (let i = 0; i < 100 && processesWith(word).length > 0; i++) await sleep(10);
		assert.deepEqual(processesWith(word), []);
	}
});

test("the garbage collector closes an unclosed namespace and emits a warning", { needs }, () => {
	const { status, stdout, stderr } = runScript(
		`import fs from "node:fs";
		let fd = userns.UserNamespace.createSync("${hosted("0:1:1")}").fd;
		const before = fs.readlinkSync("/proc/self/fd/" + fd);
		for (let i = 0; i < 100 && fs.existsSync("/proc/self/fd/" + fd); i++) { gc(); await new Promise((r) => setTimeout(r, 10)); }
		let after = "closed"; try { after = fs.readlinkSync("/proc/self/fd/" + fd); } catch {}
		console.log(before.startsWith("user:["), after === before);`,
		{ nodeFlags: ["--expose-gc"] },
	);
	assert.equal(status, 0);
	assert.equal(stdout, "true false\n");
	assert.match(stderr, /\[USERNS_FORGOTTEN_DESCRIPTOR\] UsernsWarning: A UserNamespace was not closed/);
});

test("a closed, released or transferred descriptor emits no warning", { needs }, () => {
	const { stderr } = runScript(
		`(() => { const h = new userns.Handles(); h.getSync("${hosted("0:1:1")}").close(); h.release();
			const a = userns.UserNamespace.createSync("${hosted("0:1:1")}"); a.dup().close(); a.close(); })();
		for (let i = 0; i < 20; i++) { gc(); await new Promise((r) => setTimeout(r, 5)); }`,
		{ nodeFlags: ["--expose-gc"] },
	);
	assert.equal(stderr, "");
});

test("the guard of a closed descriptor is reused, and it guards the next descriptor too", {
	needs,
}, () => {
	const { stdout, stderr } = runScript(
		`import fs from "node:fs";
		const namespaces = () => fs.readdirSync("/proc/self/fd").filter((fd) => {
			try { return fs.readlinkSync("/proc/self/fd/" + fd).startsWith("user:["); } catch { return false; }
		}).length;
		const h = new userns.Handles();
		// More guards than the package keeps: the others are collected, and no warning reports them.
		(() => { for (const ns of Array.from({ length: 200 }, () => h.getSync("${hosted("0:1:1")}"))) { ns.close(); ns.close(); } })();
		// Namespaces without a close(), each with a guard that was used before.
		(() => { for (let i = 0; i < 30; i++) h.getSync("${hosted("0:1:1")}"); })();
		const held = Array.from({ length: 10 }, () => h.getSync("${hosted("0:1:1")}"));
		const before = namespaces();
		for (let i = 0; i < 200 && namespaces() > 11; i++) { gc(); await new Promise((r) => setTimeout(r, 10)); }
		console.log(JSON.stringify([before, namespaces(), held.every((ns) => ns.equals(held[0]))]));
		for (const ns of held) ns.close();
		h.release();`,
		{ nodeFlags: ["--expose-gc"] },
	);
	assert.deepEqual(JSON.parse(stdout), [41, 11, true]);
	assert.equal(stderr.split("USERNS_FORGOTTEN_DESCRIPTOR").length - 1, 30);
});

test("many creations, successful and failed, leave no descriptor and no child", { needs }, async () => {
	const { Handles } = await import("../../src/index.ts");
	const handles = new Handles();
	const good = Array.from({ length: 60 }, (_, i) => handles.get(`0:${host(i + 1)}:1`));
	const bad = Array.from({ length: 60 }, (_, i) => handles.get(`0:${host(i)}:0`).catch(() => undefined));
	const aborted = Array.from({ length: 60 }, (_, i) => {
		const controller = new AbortController();
		const promise = handles
			.get(`0:${host(i + 1000)}:1`, { signal: controller.signal })
			.catch(() => undefined);
		setTimeout(() => controller.abort(), i % 5);
		return promise;
	});
	await Promise.all(bad);
	for (const namespace of [...(await Promise.all(good)), ...(await Promise.all(aborted))]) namespace?.close();
	handles.release();
});
