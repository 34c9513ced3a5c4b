import assert from "node:assert/strict";
import { ask } from "../support/child.ts";
import { POOL_THREADS } from "../support/native-source.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root"] as const;

const COUNT = `import fs from "node:fs";
	const descriptors = () => fs.readdirSync("/proc/self/fd").length;`;

test("each of many concurrent creations reports its result, even if the callback of another one throws", {
	needs,
}, () => {
	const answer = ask<{ tokens: number; uncaught: string[]; refused: number; left: number }>(
		`${COUNT}
		import { createRequire } from "node:module";
		const addon = createRequire(USERNS)(new URL("../../../prebuilds/userns.linux-" + process.arch + ".node", USERNS).pathname);
		const uncaught = []; process.on("uncaughtException", (error) => uncaught.push(error.message));
		const results = [];
		const create = addon.createMethod((token, answer) => {
			results.push([token, answer]);
			if (token % 3 === 0) throw new Error("thrown on purpose");
		});
		const before = descriptors();
		// Some creations fail, because other Node-API calls make an object than a number.
		for (let i = 0; i < 64; i++) create(i % 5 ? "0 " + i + " 1" : "nonsense", null, false, true, [], i);
		for (let i = 0; i < 500 && results.length < 64; i++) await new Promise((r) => setTimeout(r, 10));
		let refused = 0;
		for (const [, answer] of results) if (typeof answer === "number") addon.close(answer); else refused++;
		console.log(JSON.stringify({ tokens: new Set(results.map(([token]) => token)).size, uncaught, refused, left: descriptors() - before }));`,
	);
	assert.equal(answer.tokens, 64);
	assert.equal(answer.refused, 13);
	assert.equal(answer.left, 0);
	assert.deepEqual([...new Set(answer.uncaught)], ["thrown on purpose"]);
});

test("at most sixteen results are delivered in one turn, whatever requests come meanwhile", { needs }, () => {
	const { most, delivered } = ask<{ most: number; delivered: number }>(
		`const { createRequire } = await import("node:module");
		const addon = createRequire(USERNS)(new URL("../../../prebuilds/userns.linux-" + process.arch + ".node", USERNS).pathname);
		let most = 0, now = 0, delivered = 0, begun = 0;
		const create = addon.createMethod((token, answer) => {
			if (now++ === 0) queueMicrotask(() => { most = Math.max(most, now); now = 0; });
			delivered++;
			addon.close(answer);
			// The script adds few requests at a time, so that a work item finds more or fewer than eight.
			if (begun < 4000) for (let i = 0; i < 1 + begun % 3; i++) create("0 1 1", null, false, true, [], begun++);
		});
		for (let i = 0; i < 40; i++) create("0 1 1", null, false, true, [], begun++);
		while (delivered < begun) await new Promise((r) => setTimeout(r, 2));
		console.log(JSON.stringify({ most, delivered }));`,
	);
	assert.ok(delivered >= 4000);
	assert.ok(most > 8 && most <= 16, `${most} in one go`);
});

test("a creation does not call a setter on Object.prototype, and the setter changes no result", {
	needs,
}, () => {
	const { failed, made, uncaught } = ask<{ failed: string[]; made: number; uncaught: string[] }>(
		`const uncaught = []; process.on("uncaughtException", (error) => uncaught.push(error.message));
		(await userns.UserNamespace.create("0:1:1")).close();
		Object.defineProperty(Object.prototype, "mountId", { set() { throw new Error("set on purpose"); } });
		const all = await Promise.allSettled(Array.from({ length: 20 }, (_, i) =>
			userns.UserNamespace.create(i % 5 ? "0:" + i + ":1" : "0:0:1", { setgroups: i % 5 ? "deny" : "allow", method: i % 5 ? "auto" : "newuidmap" })));
		for (const { value } of all) value?.close();
		console.log(JSON.stringify({ failed: all.flatMap(({ reason }, i) => reason === undefined ? [] : [i % 5 + " " + reason.name]),
			made: all.filter(({ value }) => value !== undefined).length, uncaught }));`,
		{ env: { PATH: "/nonexistent" } },
	);
	assert.equal(made, 16);
	// newuidmap is missing, so these results are objects with additional properties.
	assert.deepEqual(failed, Array(4).fill("0 UsernsError"));
	assert.deepEqual(uncaught, []);
});

test("terminating a worker while thousands of creations wait makes none of them, and holds no namespace open", {
	needs,
}, () => {
	const { most, left } = ask<{ most: number; left: number }>(
		`${COUNT}
		import { Worker } from "node:worker_threads";
		import { once } from "node:events";
		await once(new Worker("", { eval: true }), "exit"); // the first creation opens descriptors that stay open
		const before = descriptors();
		const worker = new Worker(\`import { parentPort, workerData } from "node:worker_threads";
			const userns = await import(workerData);
			for (let i = 0; i < 3000; i++) userns.UserNamespace.create("0:" + (i + 1) + ":1").catch(() => {});
			parentPort.postMessage("begun");
			for (;;); // no result is delivered before the end\`, { eval: true, workerData: String(USERNS) });
		await once(worker, "message");
		let most = 0, ended = false;
		const look = () => { most = Math.max(most, descriptors() - before); if (!ended) setImmediate(look); };
		look();
		await worker.terminate();
		ended = true;
		console.log(JSON.stringify({ most, left: descriptors() - before }));`,
	);
	// Four work items with at most sixteen namespaces each, their processes, and the descriptors that Node opens for a
	// worker.
	assert.ok(most < 300, `${most} descriptors`);
	assert.equal(left, 0);
});

test("many concurrent creations succeed with no more free descriptors than successive ones need", {
	needs: [...needs, "tool:prlimit"],
}, () => {
	// The script keeps the results, and each thread of the pool has three more descriptors open: this is the limit.
	const refused = ask<string[]>(
		`${COUNT}
		import { execFileSync } from "node:child_process";
		const many = async () => {
			const made = await Promise.allSettled(Array.from({ length: 64 }, (_, i) => userns.UserNamespace.create("0:" + (i + 1) + ":1")));
			for (const { value } of made) value?.close();
			return made.flatMap(({ reason }) => reason === undefined ? [] : [String(reason)]);
		};
		const refused = await many();
		execFileSync("prlimit", ["--pid", String(process.pid), "--nofile=" + (descriptors() + 64 + ${POOL_THREADS} * 3)]);
		for (let i = 0; i < 40; i++) refused.push(...await many());
		console.log(JSON.stringify(refused));`,
	);
	assert.deepEqual(refused, []);
});
