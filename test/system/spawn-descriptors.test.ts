import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserNamespace } from "../../src/index.ts";
import { ask } from "../support/child.ts";
import { hosted } from "../support/ids.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "ids"] as const;
const BATCH = 60;

const open = () => readdirSync("/proc/self/fd").length;

/** How many descriptors are open when the last program of each of three batches has exited. */
async function afterEachBatch(start: () => ChildProcess): Promise<number[]> {
	const counts: number[] = [];
	for (let batch = 0; batch < 3; batch++) {
		await Promise.all(Array.from({ length: BATCH }, () => once(start(), "exit")));
		counts.push(open());
	}
	return counts;
}

test("batches that await exit hold no descriptor, like those of child_process", { needs }, async () => {
	const ns = await UserNamespace.create(hosted("0:100000:10"));
	const before = open();
	// The oracle: with only "ignore", child_process has no descriptor for a child.
	const wanted = [before, before, before];
	assert.deepEqual(await afterEachBatch(() => spawn("true", { stdio: "ignore" })), wanted);
	try {
		for (const unshare of [[], ["pid"]] as const) {
			const start = () => ns.spawn("true", [], { stdio: "ignore", unshare });
			assert.deepEqual(await afterEachBatch(start), wanted);
		}
	} finally {
		ns.close();
	}
});

test("a running program holds no descriptor in the caller", { needs }, async () => {
	const ns = await UserNamespace.create(hosted("0:100000:10"));
	const before = open();
	const children = Array.from({ length: 20 }, () => ns.spawn("sleep", ["1000"], { stdio: "ignore" }));
	const ends = children.map((child) => once(child, "close"));
	try {
		for (let i = 0; i < 1000 && open() > before; i++) await sleep(5);
		assert.equal(open(), before);
	} finally {
		for (const child of children) child.kill("SIGKILL");
		await Promise.all(ends);
		ns.close();
	}
});

test("a failure that the event loop reads late is reported once, with its step, before exit", {
	needs,
}, async () => {
	const ns = await UserNamespace.create(hosted("0:100000:10"));
	const folder = mkdtempSync(join(tmpdir(), "userns-spawn-"));
	const words = join(folder, "words");
	try {
		chmodSync(folder, 0o755);
		writeFileSync(words, "just words\n", { mode: 0o755 });
		const before = open();
		for (let batch = 0; batch < 3; batch++) {
			const all = Array.from({ length: BATCH }, async () => {
				const child = ns.spawn(words, [], { stdio: "ignore" });
				const events: unknown[] = [];
				child.on("error", (error: Error & { step?: string }) => events.push(error.step));
				child.on("exit", (status) => events.push(status));
				// Not events.once(), which rejects on the error.
				await new Promise((resolve) => child.on("exit", resolve));
				return events;
			});
			for (const events of await Promise.all(all)) {
				assert.deepEqual(events, ["executing the program", 126]);
			}
			assert.equal(open(), before);
		}
	} finally {
		rmSync(folder, { recursive: true });
		ns.close();
	}
});

test("250 concurrent programs run under ulimit -n 1024, batch after batch", {
	needs: [...needs, "root"],
}, () => {
	const most = ask<number>(
		`import { once } from "node:events";
		import { readdirSync } from "node:fs";
		const ns = userns.UserNamespace.createSync(${JSON.stringify(hosted("0:100000:10"))});
		let most = 0;
		for (let batch = 0; batch < 6; batch++) {
			const all = Array.from({ length: 250 }, () => ns.spawn("true", [], { stdio: "ignore" }));
			most = Math.max(most, readdirSync("/proc/self/fd").length);
			await Promise.all(all.map((child) => once(child, "exit")));
		}
		console.log(most);`,
		{ prefix: ["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh"] },
	);
	assert.ok(most < 350, `${most} descriptors`);
});
