import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask, READ_CHILDREN, root, sh } from "../support/child.ts";
import { POOL_THREADS } from "../support/native-source.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root"] as const;

/** The threads of this package in a process: its worker pool. */
const OWN = `import fs from "node:fs";
	const own = () => fs.readdirSync("/proc/self/task").filter((tid) => {
		try { return fs.readFileSync("/proc/self/task/" + tid + "/comm", "utf8") === "userns\\n"; } catch { return false; }
	});
	const MANY = Array.from({ length: 200 }, (_, i) => "0:" + (i + 1) + ":1");
	const makeMany = async () => {
		for (const made of await Promise.all(MANY.map((mapping) => userns.UserNamespace.create(mapping)))) made.close();
	};`;

test("a creation does not wait for other work in libuv's pool", { needs }, () => {
	const order = ask<string[]>(
		`import { pbkdf2 } from "node:crypto";
		const order = [];
		const slow = new Promise((resolve) => pbkdf2("a", "b", 300_000, 64, "sha512", () => { order.push("pool"); resolve(); }));
		const handles = new userns.Handles();
		const made = handles.get("0:100000:65536").then((ns) => { order.push("namespace"); ns.close(); });
		await Promise.all([slow, made]);
		handles.release();
		console.log(JSON.stringify(order));`,
		{ env: { UV_THREADPOOL_SIZE: "1" } },
	);
	assert.deepEqual(order, ["namespace", "pool"]);
});

test("the worker pool has at most MOST_THREADS threads, starts with the first asynchronous creation, and handles no signal", {
	needs,
}, () => {
	const { before, sync, inTurn, many, blocked } = ask<{
		before: number;
		sync: number;
		inTurn: number;
		many: number;
		blocked: string[];
	}>(
		`${OWN}
		const before = own().length;
		userns.UserNamespace.createSync("0:1:1").close();
		const sync = own().length;
		for (let i = 0; i < 1000; i++) (await userns.UserNamespace.create("0:1:1")).close();
		const inTurn = own().length;
		for (let i = 0; i < 10; i++) await makeMany();
		const blocked = own().map((tid) => /^SigBlk:\\s*(\\S+)/m.exec(fs.readFileSync("/proc/self/task/" + tid + "/status", "utf8"))[1]);
		console.log(JSON.stringify({ before, sync, inTurn, many: own().length, blocked }));`,
	);
	assert.deepEqual([before, sync, inTurn], [0, 0, 1]);
	assert.ok(many >= 1 && many <= POOL_THREADS, `${many} threads`);
	// All 64 signals but SIGKILL and SIGSTOP, which cannot be blocked, and the first real-time signals, which libc
	// reserves.
	const not = (1n << 8n) | (1n << 18n) | (0x7n << 31n);
	for (const mask of blocked) assert.equal(BigInt(`0x${mask}`) | not, 0xffffffffffffffffn);
});

test("waiting threads do not keep a process from ending, and a worker joins its threads when it ends", {
	needs,
}, () => {
	const left = ask<{ worker: number; during: number; main: number; both: number }>(
		`${OWN}
		import { Worker } from "node:worker_threads";
		import { once } from "node:events";
		const START = \`import { parentPort, workerData } from "node:worker_threads";
			const userns = await import(workerData);
			for (let i = 0; i < 50; i++) (await userns.UserNamespace.create("0:1:1")).close();
			for (let i = 0; i < 2000; i++) userns.UserNamespace.create("0:" + (i + 1) + ":1").then((ns) => ns.close(), () => {});
			parentPort.postMessage("begun");\`;
		// A joined thread is in /proc for another moment.
		const atMost = async (count) => {
			for (let i = 0; i < 200 && own().length > count; i++) await new Promise((next) => setTimeout(next, 5));
			return own().length;
		};
		const start = () => new Worker(START, { eval: true, workerData: String(USERNS) });
		let worker = start();
		await once(worker, "message");
		const during = own().length;
		await worker.terminate();
		const first = await atMost(0);
		await makeMany();
		const main = own().length;
		worker = start();
		await once(worker, "message");
		await once(worker, "exit");
		console.log(JSON.stringify({ during, worker: first, main, both: (await atMost(main)) - main }));`,
	);
	assert.ok(left.during >= 1, "the worker had threads");
	assert.equal(left.worker, 0);
	assert.ok(left.main >= 1);
	assert.equal(left.both, 0);
});

test("process.exit() during creations leaves no process", { needs: [...needs, "tool:unshare"] }, () => {
	const script = `const userns = await import(process.argv[1]);
		let delivered = 0;
		for (let i = 0; i < 300; i++) {
			userns.UserNamespace.create("0:" + (i + 1) + ":1").then((ns) => { ns.close(); if (++delivered === 20) process.exit(); });
		}`;
	// Process 1 of a pid namespace adopts every orphan. This one reaps only the processes that it waits for.
	const first = `import { spawnSync } from "node:child_process";
		${READ_CHILDREN}
		let left = 0;
		for (let i = 0; i < 10; i++) {
			const { status } = spawnSync(process.execPath, ["--input-type=module", "-e", ${JSON.stringify(script)}, process.argv[1]]);
			if (status !== 0) left = "status " + status;
			left += readChildren().length;
		}
		console.log(left);`;
	const url = new URL("../../src/index.js", import.meta.url).href;
	const node = [process.execPath, "--input-type=module", "-e", first, url];
	assert.equal(sh("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", ...node).trim(), "0");
});

test("creations run on the calling thread if no other can be started, and their promises resolve later", {
	needs: [...needs, "tool:cc"],
}, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-no-thread-"));
	try {
		const library = join(folder, "no-thread.so");
		sh(
			"cc",
			"-O2",
			"-shared",
			"-fPIC",
			"-o",
			library,
			join(root, "test/support/programs/no-thread.c"),
			"-ldl",
		);
		const script = `${OWN} await makeMany(); await makeMany(); console.log(JSON.stringify(own().length));`;
		const env = { LD_PRELOAD: library };
		assert.ok(ask<number>(script, { env }) >= 1, "the library itself keeps none from starting");
		assert.equal(ask<number>(script, { env: { ...env, NO_THREAD: String(256 * 1024) } }), 0);
	} finally {
		rmSync(folder, { recursive: true });
	}
});

test("copies of this package in one environment share the threads, and each gets its own results", {
	needs,
}, () => {
	const { wrong, threads } = ask<{ wrong: number; threads: number }>(
		`${OWN}
		import { createRequire } from "node:module";
		const addon = createRequire(USERNS)(new URL("../../../prebuilds/userns.linux-" + process.arch + ".node", USERNS).pathname);
		let wrong = 0;
		const copy = (first) => new Promise((resolve) => {
			let delivered = 0;
			const create = addon.createMethod((token, answer) => {
				if (token < first || token >= first + 20) wrong++;
				addon.close(answer);
				if (++delivered === 20) resolve();
			});
			for (let i = 0; i < 20; i++) create("0 1 1", null, false, true, [], first + i);
		});
		await Promise.all(Array.from({ length: 20 }, (_, i) => copy(i * 20)));
		console.log(JSON.stringify({ wrong, threads: own().length }));`,
	);
	assert.equal(wrong, 0);
	assert.ok(threads >= 1 && threads <= POOL_THREADS, `${threads} threads`);
});

test("a busy event loop gets every result, although more were made than the limit of undelivered ones", {
	needs,
}, () => {
	const made = ask<number>(
		`let made = 0;
		const all = Array.from({ length: 400 }, (_, i) => userns.UserNamespace.create("0:" + (i + 1) + ":1").then((ns) => { ns.close(); made++; }));
		const until = performance.now() + 1000;
		while (performance.now() < until);
		await Promise.race([Promise.all(all), new Promise((resolve) => setTimeout(resolve, 10_000))]);
		console.log(JSON.stringify(made));
		process.exit();`,
	);
	assert.equal(made, 400);
});

test("a creation does not keep the AsyncLocalStorage value of the first caller", { needs }, () => {
	const kept = ask<boolean[]>(
		`import { AsyncLocalStorage } from "node:async_hooks";
		import { setTimeout as sleep } from "node:timers/promises";
		import { setFlagsFromString } from "node:v8";
		import { runInNewContext } from "node:vm";
		setFlagsFromString("--expose-gc");
		const gc = runInNewContext("gc");
		const storage = new AsyncLocalStorage();
		const stores = [];
		function request() {
			const store = {};
			stores.push(new WeakRef(store));
			storage.run(store, () => setTimeout(async () => (await userns.UserNamespace.create("0:1:1")).close(), 1));
		}
		for (let i = 0; i < 3; i++) { request(); await sleep(50); }
		for (let i = 0; i < 5; i++) { await sleep(20); gc(); }
		console.log(JSON.stringify(stores.map((store) => store.deref() !== undefined)));`,
	);
	assert.deepEqual(kept, [false, false, false]);
});
