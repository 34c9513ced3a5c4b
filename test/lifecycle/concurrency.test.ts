import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";
import { Worker } from "node:worker_threads";
import * as userns from "../../src/index.ts";
import { ask, packageForAll } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { host, hosted } from "../support/ids.ts";
import { test } from "../support/test.ts";

const LONG = process.env.USERNS_LONG === "1";
const WORKERS = 8;
const STEPS = LONG ? 10_000 : 1000;
const needs = ["linux", "ids"] as const;

/**
 * One worker's run: STEPS random operations, with a model beside it that knows the namespace of each mapping. `random`
 * is mulberry32, so that the seed reproduces the run.
 */
const MODEL = `import { parentPort, workerData } from "node:worker_threads";
	import fs from "node:fs";
	const { index, seed, steps, first } = workerData;
	const userns = await import(index);
	let state = seed;
	const random = (below) => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) % below;
	};
	const handles = new userns.Handles();
	const cached = new Map(); // mapping → the namespace that the next get must return
	const held = []; // { ns, id, key }
	const is = (truth, what) => { if (!truth) throw new Error(what + " (seed " + seed + ")"); };
	const keyOf = (ns) => ns.inode + " " + ns.id;
	const mappings = Array.from({ length: 12 }, (_, i) => "0:" + (first + i * 10) + ":5,5:" + (first + 500 + i * 10) + ":" + (i + 1));
	/** Another spelling of the same mapping. */
	const spelled = (id) => random(2) ? id : id.split(",").reverse().join(",");
	const take = (ns, id) => {
		const key = keyOf(ns);
		const expected = cached.get(id);
		is(expected === undefined || expected === key, "another namespace than the cached one");
		for (const other of held) is((other.key === key) <= (other.id === id), "one namespace for two mappings");
		cached.set(id, key);
		is(ns.mappingSync().id === id, "the mapping");
		held.push({ ns, id, key });
	};
	const drop = (i) => {
		const [{ ns }] = held.splice(i, 1);
		ns.close(); ns.close();
		let code; try { ns.fd; } catch (e) { code = e.code; }
		is(ns.closed && code === "ERR_USERNS_CLOSED", "closed");
	};
	const actions = [
		async () => { const id = mappings[random(12)]; take(await handles.get(spelled(id)), id); },
		async () => { const id = mappings[random(12)]; take(handles.getSync(spelled(id)), id); },
		async () => {
			const id = mappings[random(12)];
			for (const ns of await Promise.all([handles.get(id), handles.get(spelled(id)), handles.get(id)])) take(ns, id);
		},
		async () => {
			// Some gets are aborted at once: nothing of them may stay.
			const id = mappings[random(12)];
			const wasCached = cached.has(id);
			const controller = new AbortController();
			const promise = handles.get(id, { signal: controller.signal });
			controller.abort();
			const ns = await promise.catch((e) => e);
			if (ns instanceof userns.UserNamespace) take(ns, id);
			else is(ns.code === "ABORT_ERR" && (!wasCached || cached.has(id)), "aborted");
			// The cache may or may not keep a creation that was aborted, so the model asks the cache.
			if (!wasCached) { cached.delete(id); const now = await handles.get(id); take(now, id); }
		},
		async () => { if (held.length > 0) drop(random(held.length)); },
		async () => { if (held.length > 0) drop(random(held.length)); },
		async () => { while (held.length > 40) drop(random(held.length)); },
		async () => { if (held.length > 0) { const { ns, id, key } = held[random(held.length)]; const copy = ns.dup(); is(keyOf(copy) === key, "dup"); held.push({ ns: copy, id, key }); } },
		async () => { if (random(8) === 0) { handles.release(); cached.clear(); is(handles.size === 0, "released"); } },
		async () => {
			// A release while the namespace is created: the caller gets a namespace, and the cache does not keep it.
			if (random(8) !== 0) return;
			const id = mappings[random(12)];
			const promise = handles.get(id);
			handles.release(); cached.clear();
			const ns = await promise;
			is(handles.size === 0, "not kept");
			held.push({ ns, id, key: keyOf(ns) });
			is(ns.mappingSync().id === id, "the mapping of one that was released");
		},
	];
	for (let i = 0; i < steps; i++) {
		await actions[random(actions.length)]();
		is(handles.size === cached.size, "the size: " + handles.size + " and not " + cached.size);
		for (const { ns, key } of held) is(!ns.closed && fs.fstatSync(ns.fd).ino === ns.inode && keyOf(ns) === key, "held");
	}
	while (held.length > 0) drop(0);
	handles.release();
	parentPort.postMessage(steps);`;

function runWorker(code: string, workerData: object): Promise<unknown> {
	return new Promise((resolve, reject) => {
		const worker = new Worker(code, { eval: true, workerData, execArgv: ["--input-type=module"] });
		let message: unknown;
		worker.on("message", (value) => {
			message = value;
		});
		worker.on("error", reject);
		worker.on("exit", () => resolve(message));
	});
}

test(`${WORKERS} concurrent workers do ${STEPS} random operations each, and every worker agrees with its model`, {
	needs,
	timeout: 600_000,
}, async (t) => {
	const seed = Number(process.env.USERNS_SEED ?? Date.now() % 2 ** 31);
	t.diagnostic(`USERNS_SEED=${seed}`);
	const index = pathToFileURL(join(packageForAll(), "dist/src/library/userns.js")).href;
	const done = await Promise.all(
		Array.from({ length: WORKERS }, (_, i) =>
			runWorker(MODEL, { index, seed: seed + i, steps: STEPS, first: host(1000 + i * 2000) }),
		),
	);
	assert.deepEqual(done, Array(WORKERS).fill(STEPS));
});

test("release and close during a get: the caller of get still receives a namespace that works", {
	needs,
}, async () => {
	const handles = new userns.Handles();
	for (let round = 0; round < (LONG ? 200 : 15); round++) {
		const ids = Array.from({ length: 12 }, (_, i) => hosted(`0:${i % 6}:${1 + (round % 3)}`));
		const gets = ids.map(async (id, i) => {
			const ns = await handles.get(id);
			if (i % 3 !== 0) return ns;
			ns.close();
			return undefined;
		});
		if (round % 2 === 0) handles.release();
		else setImmediate(() => handles.release());
		for (const [i, ns] of (await Promise.all(gets)).entries()) {
			if (ns === undefined) continue;
			assert.equal(ns.mappingSync().id, ids[i]);
			assert.ok(ns.inode > 0);
			ns.close();
		}
		handles.release();
		assert.equal(handles.size, 0);
	}
});

/** A complete copy of the package, under another path. */
async function anotherCopy(body: (other: typeof userns) => Promise<void>): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-copy-"));
	try {
		cpSync(packageForAll(), folder, { recursive: true });
		await body(
			(await import(pathToFileURL(join(folder, "dist/src/library/userns.js")).href)) as typeof userns,
		);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

test(
	"of two copies of the package in one process, neither takes the other's objects or descriptors",
	{
		needs,
	},
	() =>
		anotherCopy(async (other) => {
			assert.notEqual(other.UserNamespace, userns.UserNamespace);
			const mine = await userns.UserNamespace.create(hosted("0:1:1"));
			const theirs = await other.UserNamespace.create(hosted("0:1:1"));
			assert.notEqual(mine.fd, theirs.fd);
			assert.throws(
				() => mine.equals(theirs as unknown as userns.UserNamespace),
				failure("ERR_USERNS_INVALID_ARGUMENT", /must be a UserNamespace/),
			);
			await assert.rejects(
				userns.mountIdmapped({ source: "/tmp", userns: theirs as unknown as userns.UserNamespace }),
				failure("ERR_USERNS_INVALID_ARGUMENT", /userns must be a UserNamespace/),
			);
			// Each copy opens the other's namespace by its path, and a Mapping counts by its text.
			const again = userns.UserNamespace.open(`/proc/self/fd/${theirs.fd}`);
			assert.equal(again.inode, theirs.inode);
			const mapping = other.Mapping.from(hosted("0:5:5"));
			assert.equal(userns.Mapping.from(mapping as unknown as userns.Mapping).id, mapping.id);
			const { fd } = mine;
			mine.close();
			// The kernel gives the lowest free number each time.
			const next = [theirs.dup()];
			while (next.at(-1)?.fd !== fd && next.length < 100) next.push(theirs.dup());
			assert.equal(next.at(-1)?.fd, fd, "the number was given out again, to the other copy");
			mine.close();
			assert.equal(next.at(-1)?.inode, theirs.inode);
			for (const each of [theirs, again, ...next]) each.close();
		}),
);

test("values from another vm context are accepted, and the errors are this package's", {
	needs,
}, async () => {
	const context = vm.createContext({ userns, map: host(7) });
	const made = (await vm.runInContext(
		`(async () => {
			const extents = [{ containerID: 0, hostID: map, size: 3 }];
			const ns = await userns.UserNamespace.create({ uidMappings: extents, gidMappings: extents }, { setgroups: "deny" });
			let wrong; try { userns.UserNamespace.createSync("0:1:0"); } catch (e) { wrong = e; }
			return { ns, wrong };
		})()`,
		context,
	)) as { ns: userns.UserNamespace; wrong: unknown };
	assert.ok(made.wrong instanceof userns.UsernsError);
	assert.equal(made.ns.mappingSync().id, hosted("0:7:3"));
	made.ns.close();
});

/** Whether Node.js is linked to musl, whose dlclose(3) never unloads a library. */
function isMusl(): boolean {
	const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
	return header.glibcVersionRuntime === undefined;
}

test("workers load the add-on again and again, each time after it was unloaded", {
	needs,
	timeout: 600_000,
}, () => {
	// The main thread never loads the add-on, so it is unloaded when the worker ends.
	const { loaded, unloaded, right } = ask<{ loaded: number; unloaded: number; right: number }>(
		`import fs from "node:fs";
		import { Worker } from "node:worker_threads";
		const isLoaded = () => fs.readFileSync("/proc/self/maps", "utf8").includes("/userns.linux-");
		let [loaded, unloaded, right] = [0, 0, 0];
		for (let i = 0; i < ${LONG ? 300 : 12}; i++) {
			const worker = new Worker(\`import { parentPort } from "node:worker_threads";
				const userns = await import(\${JSON.stringify(String(USERNS))});
				const ns = await userns.UserNamespace.create("${hosted("0:1:1")}");
				parentPort.postMessage(ns.mappingSync().id);
				if (\${i} % 3) for (;;) await userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mapping();\`, { eval: true });
			const exit = new Promise((resolve) => worker.on("exit", resolve)); // from now on, because it can follow the message at once
			const id = await new Promise((resolve, reject) => worker.on("message", resolve).on("error", reject));
			if (id === "${hosted("0:1:1")}") right++;
			if (isLoaded()) loaded++;
			if (i % 3) await worker.terminate();
			await exit;
			if (!isLoaded()) unloaded++;
		}
		console.log(JSON.stringify({ loaded, unloaded, right }));`,
		{ timeout: 600_000 },
	);
	const rounds = LONG ? 300 : 12;
	assert.equal(right, rounds);
	assert.ok(loaded > 0);
	assert.equal(unloaded, isMusl() ? 0 : rounds);
});
