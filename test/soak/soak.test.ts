import assert from "node:assert/strict";
import { runScript, type ScriptResult } from "../support/child.ts";
import { hosted } from "../support/ids.ts";
import { test } from "../support/test.ts";

const LONG = process.env.USERNS_LONG === "1";
const needs = ["linux", "ids"] as const;
const MB = 1024 * 1024;

/** The resources of a process, from /proc and after the garbage collector has run. */
interface Sample {
	rss: number;
	descriptors: number;
	threads: number;
	children: number;
	mounts: number;
	/** The kernel's count of user namespaces on the whole machine; 0 where the kernel does not report it. */
	namespaces: number;
}

interface Soak {
	samples: Sample[];
	seconds: number;
}

/**
 * Repeats an operation, and takes a sample after each tenth. Waits before the last sample, because the kernel frees the
 * memory of namespaces late: since Linux 6.18 five seconds after their end (kfree_rcu(), KFREE_DRAIN_JIFFIES).
 */
function soak(times: number, before: string, action: string, after = ""): ScriptResult {
	return runScript(
		`import fs from "node:fs";
		${before}
		const action = async (i) => { ${action} };
		const children = () => readChildren().length;
		// The kernel counts the objects that each CPU caches, up to a hundred, as used, so these are drained first.
		const namespaces = () => {
			try { fs.writeFileSync("/sys/kernel/slab/user_namespace/shrink", "1"); } catch {}
			try { return Number(/^user_namespace +(\\d+)/m.exec(fs.readFileSync("/proc/slabinfo", "utf8"))?.[1] ?? 0); } catch { return 0; }
		};
		const sample = async () => {
			for (let i = 0; i < 3; i++) { gc(); await new Promise((r) => setTimeout(r, ${LONG ? 20 : 3})); }
			return {
				rss: process.memoryUsage().rss,
				descriptors: fs.readdirSync("/proc/self/fd").length,
				threads: fs.readdirSync("/proc/self/task").length,
				children: children(),
				mounts: fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").length,
				namespaces: namespaces(),
			};
		};
		const tenth = ${times / 10};
		for (let i = 0; i < tenth * 2; i++) await action(i);
		const samples = [await sample()];
		const began = Date.now();
		for (let part = 0; part < 10; part++) {
			for (let i = 0; i < tenth; i++) await action(i);
			samples.push(await sample());
		}
		const seconds = (Date.now() - began) / 1000;
		await new Promise((r) => setTimeout(r, ${LONG ? 8000 : 300}));
		samples.push(await sample());
		${after}
		console.log(JSON.stringify({ samples, seconds }));`,
		{ nodeFlags: ["--expose-gc"], timeout: 1_800_000 },
	);
}

/** Compares the first tenth with the last. */
function checkFlat({ status, stdout, stderr }: ScriptResult): string {
	assert.equal(status, 0, stderr);
	const { samples, seconds } = JSON.parse(stdout) as Soak;
	const [, first, ...rest] = samples as [Sample, Sample, ...Sample[]];
	const last = rest.at(-1) as Sample;
	for (const key of ["descriptors", "threads", "children", "mounts"] as const) {
		assert.equal(last[key], first[key], `${key}: ${JSON.stringify(samples)}`);
	}
	assert.ok(last.rss - first.rss < 10 * MB, `resident memory: ${JSON.stringify(samples)}`);
	// In the short form other tests run at the same time. The test with its own limit covers this case.
	if (LONG)
		assert.ok(last.namespaces - first.namespaces <= 64, `user namespaces: ${JSON.stringify(samples)}`);
	const grown = (last.rss - first.rss) / MB;
	return `${seconds.toFixed(1)} s; memory ${grown >= 0 ? "+" : ""}${grown.toFixed(1)} MB, namespaces ${last.namespaces - first.namespaces}`;
}

const MAP = hosted("0:100:10,10:300:5");
const soaks: [name: string, short: number, long: number, before: string, action: string, after?: string][] = [
	[
		"cached gets and closes",
		20_000,
		1_000_000,
		"const handles = new userns.Handles();",
		`const ns = i % 2 ? handles.getSync("${MAP}") : await handles.get("${MAP}"); ns.close();`,
		"handles.release();",
	],
	[
		"creations",
		1000,
		20_000,
		"",
		`const ns = i % 2 ? userns.UserNamespace.createSync("${MAP}") : await userns.UserNamespace.create("${MAP}"); ns.close();`,
	],
	[
		"creations through a cache that is released",
		500,
		10_000,
		"const handles = new userns.Handles();",
		`(await handles.get("0:" + (${hosted("0:1:1").split(":")[1]} + i % 7) + ":1")).close(); if (i % 10 === 9) handles.release();`,
		"handles.release();",
	],
	[
		"read-backs",
		500,
		10_000,
		`const ns = userns.UserNamespace.createSync("${MAP}");`,
		`const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		if ((i % 2 ? bare.mappingSync() : await bare.mapping()).id !== "${MAP}") throw new Error("wrong"); bare.close();`,
	],
	[
		"failures",
		100,
		2000,
		"",
		`await userns.UserNamespace.create("0:0:1,1:" + 4294967290 + ":1", { method: "newuidmap" }).catch(() => {});
		try { userns.UserNamespace.open("/proc/self/ns/net"); throw new Error("opened"); } catch (e) { if (e.code !== "ERR_USERNS_NOT_A_USER_NAMESPACE") throw e; }`,
	],
	[
		"programs inside",
		50,
		2000,
		`const ns = userns.UserNamespace.createSync("${MAP}");`,
		`const status = await new Promise((resolve, reject) => ns.spawn("true", { stdio: "ignore" }).on("error", reject).on("close", resolve));
		if (status !== 0) throw new Error("status " + status);`,
	],
];

for (const [name, short, long, before, action, after] of soaks) {
	// Without root each creation runs two programs.
	const times = LONG ? long : process.geteuid?.() === 0 ? short : short / 10;
	test(`${times} ${name} do not let any resource grow`, { needs, timeout: 1_800_000 }, (t) => {
		t.diagnostic(checkFlat(soak(times, before, action, after)));
	});
}

test(`${LONG ? 5000 : 200} mounts and unmounts, and pins do not let any resource grow`, {
	needs: ["linux", "root", "mounts"],
	timeout: 1_800_000,
}, (t) => {
	const result = soak(
		LONG ? 5000 : 200,
		`const ns = userns.UserNamespace.createSync("${MAP}");
		const folder = fs.mkdtempSync("/tmp/userns-soak-");
		for (const name of ["source", "target"]) fs.mkdirSync(folder + "/" + name);`,
		`const mount = await userns.mountIdmapped({ source: folder + "/source", target: folder + "/target", userns: ns });
		if (i % 2) await mount.unmount(); else { mount.close(); userns.unmount(folder + "/target"); }
		userns.pin(ns, folder + "/pinned"); userns.unmount(folder + "/pinned");`,
		"fs.rmSync(folder, { recursive: true });",
	);
	t.diagnostic(checkFlat(result));
});

test(`${LONG ? 20_000 : 500} creations under a limit of 64 namespaces: the kernel lowers its count after each of them`, {
	needs: ["linux", "root", "tool:unshare"],
	timeout: 1_800_000,
}, () => {
	// The limit of a namespace around the script: no other process of the machine counts, and one kept namespace in 64
	// shows.
	const limit = 'echo 64 > /proc/sys/user/max_user_namespaces; exec "$@"';
	const { status, stdout, stderr } = runScript(
		`let made = 0;
		// On a busy machine the kernel may take longer than the retries. A kept namespace would never lower the count.
		const make = async (i) => {
			for (let tries = 1; ; tries++) {
				try { return i % 2 ? userns.UserNamespace.createSync("0:0:1") : await userns.UserNamespace.create("0:0:1"); }
				catch (e) { if (e.code !== "ERR_USERNS_LIMIT" || tries === 20) throw e; }
				await new Promise((r) => setTimeout(r, 500));
			}
		};
		for (let i = 0; i < ${LONG ? 20_000 : 500}; i++) {
			const ns = await make(i);
			const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
			if (i % 5 === 0 && (await bare.mapping()).id !== "0:0:1") throw new Error("wrong");
			ns.close(); bare.close(); made++;
		}
		console.log(made);`,
		{
			prefix: ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"],
			timeout: 1_800_000,
		},
	);
	assert.equal(status, 0, stderr);
	assert.equal(Number(stdout), LONG ? 20_000 : 500);
});

test("the garbage collector closes descriptors without a close()", { needs }, () => {
	const times = LONG ? 20_000 : 600;
	const { status, stdout, stderr } = runScript(
		`import fs from "node:fs";
		const count = () => fs.readdirSync("/proc/self/fd").length;
		const handles = new userns.Handles();
		handles.getSync("${MAP}").close();
		const before = count();
		let most = 0;
		for (let i = 0; i < ${times}; i++) {
			handles.getSync("${MAP}"); userns.UserNamespace.createSync("${MAP}");
			if (i % 50 === 49) { most = Math.max(most, count()); gc(); await new Promise((r) => setTimeout(r, 1)); }
		}
		for (let i = 0; i < 100 && count() > before; i++) { gc(); await new Promise((r) => setTimeout(r, 10)); }
		console.log(JSON.stringify({ left: count() - before, most: most - before }));`,
		{ nodeFlags: ["--expose-gc", "--no-warnings"], timeout: 600_000 },
	);
	assert.equal(status, 0, stderr);
	const { left, most } = JSON.parse(stdout) as { left: number; most: number };
	assert.equal(left, 0);
	assert.ok(most >= 50, "they were really there");
});
