import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { Handles, UserNamespace } from "../../src/index.ts";
import { ask } from "../support/child.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root"] as const;

/** The CPUs that a thread may run on, from /proc. */
function allowed(status: string): string {
	return /^Cpus_allowed:\s*(\S+)$/m.exec(readFileSync(status, "utf8"))?.[1] ?? "";
}

/** The same for every thread of this process, the thread pool's included. */
function allAllowed(): string[] {
	return readdirSync("/proc/self/task").map((task) => allowed(`/proc/self/task/${task}/status`));
}

test("a creation leaves every thread on the CPUs that it had", { needs }, async () => {
	const before = allowed("/proc/thread-self/status");
	assert.deepEqual([...new Set(allAllowed())], [before]);
	const handles = new Handles();
	for (let i = 0; i < 50; i++) handles.getSync(`0:${100000 + i}:1`).close();
	const many = await Promise.all(Array.from({ length: 50 }, (_, i) => handles.get(`0:${200000 + i}:1`)));
	for (const namespace of many) namespace.close();
	handles.release();
	assert.deepEqual([...new Set(allAllowed())], [before]);
});

test("a creation that fails at any step leaves every thread on the CPUs that it had", { needs }, () => {
	// With 0, 1, 2 … free descriptors, the creation fails at clone(2) first, then at each later step.
	const { steps, masks } = ask<{ steps: string[]; masks: string[] }>(
		`import fs from "node:fs";
		const mask = () => /^Cpus_allowed:\\s*(\\S+)$/m.exec(fs.readFileSync("/proc/thread-self/status", "utf8"))[1];
		userns.UserNamespace.createSync("0:100:1").close();
		const steps = [], masks = [mask()];
		for (let left = 0; left < 8; left++) {
			const filler = [];
			try { for (;;) filler.push(fs.openSync("/dev/null")); } catch {}
			for (let i = 0; i < left; i++) fs.closeSync(filler.pop());
			try { userns.UserNamespace.createSync("0:100:1").close(); } catch (e) { steps.push(e.step); }
			for (const fd of filler) fs.closeSync(fd);
			masks.push(mask());
		}
		console.log(JSON.stringify({ steps, masks }));`,
		{ prefix: ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"] },
	);
	assert.ok(steps.includes("starting the process"));
	assert.ok(new Set(steps).size >= 2);
	assert.equal(new Set(masks).size, 1);
});

/** The sched_setaffinity calls in three creations, by strace(1), and the mask of the thread before and after. */
function traced(prefix: readonly string[]): { before: string; after: string; calls: number } {
	return ask(
		`import fs from "node:fs";
		import { spawn } from "node:child_process";
		import { once } from "node:events";
		const mask = () => /^Cpus_allowed:\\s*(\\S+)$/m.exec(fs.readFileSync("/proc/thread-self/status", "utf8"))[1];
		userns.UserNamespace.createSync("0:1:1").close();
		const before = mask();
		const tracer = spawn("strace", ["-e", "trace=sched_setaffinity", "-p", String(process.pid)], { stdio: ["ignore", "ignore", "pipe"] });
		let text = "";
		tracer.stderr.on("data", (chunk) => { text += chunk; });
		while (!text.includes("attached")) await once(tracer.stderr, "data");
		for (let i = 0; i < 3; i++) userns.UserNamespace.createSync("0:1:1").close();
		tracer.kill("SIGINT");
		await once(tracer, "close");
		console.log(JSON.stringify({ before, after: mask(), calls: text.split("sched_setaffinity(").length - 1 }));`,
		{ prefix },
	);
}

test("a creation does not bind a thread that may not run on every CPU", {
	needs: [...needs, "tool:taskset", "tool:strace"],
}, (t) => {
	const all = traced([]);
	if (!/^0-[1-9]/.test(readFileSync("/sys/devices/system/cpu/possible", "utf8"))) {
		return t.skip("one CPU");
	}
	// The control: without the limit, the same creations do bind and unbind, unless this process itself is limited.
	const everywhere =
		/^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ===
		readFileSync("/sys/devices/system/cpu/possible", "utf8").trim();
	assert.equal(all.calls, everywhere ? 6 : 0);
	assert.equal(all.after, all.before);
	const first = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
	const limited = traced(["taskset", "-c", first]);
	assert.equal(limited.calls, 0);
	assert.equal(limited.after, limited.before);
	assert.notEqual(limited.after, all.after);
});

test("a program that is spawned after a creation may run on the same CPUs as before", { needs }, async () => {
	const before = allowed("/proc/thread-self/status");
	(await UserNamespace.create("0:100000:10")).close();
	UserNamespace.createSync("0:100000:10").close();
	const child = ask<string>(
		`import fs from "node:fs"; console.log(JSON.stringify(/^Cpus_allowed:\\s*(\\S+)$/m.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]));`,
	);
	assert.equal(child, before);
});

test("the child of a bound thread is unbound before the wait, also where waitid(2) takes no pidfd", {
	needs: [...needs, "tool:strace"],
}, (t) => {
	if (traced([]).calls === 0) return t.skip("creations bind no thread here");
	const lines = ask<string[]>(
		`import { spawn } from "node:child_process";
		import { once } from "node:events";
		userns.UserNamespace.createSync("0:1:1").close();
		const tracer = spawn("strace", ["-e", "trace=waitid,poll", "-e", "inject=waitid:error=EINVAL:when=1..2", "-p", String(process.pid)], { stdio: ["ignore", "ignore", "pipe"] });
		let text = "";
		tracer.stderr.on("data", (chunk) => { text += chunk; });
		while (!text.includes("attached")) await once(tracer.stderr, "data");
		userns.UserNamespace.createSync("0:1:1").close();
		tracer.kill("SIGINT");
		await once(tracer, "close");
		console.log(JSON.stringify(text.split("\\n")));`,
	);
	const calls = lines.flatMap((line) => /^(poll|waitid\(P_PID\b|waitid)/.exec(line)?.[1] ?? []);
	// The wait with a time limit comes first, then the child is unbound, then the wait without a limit begins.
	assert.deepEqual(calls, ["waitid", "poll", "waitid", "waitid(P_PID"]);
});
