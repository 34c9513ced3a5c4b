import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { Handles, UserNamespace, UsernsError } from "../../src/index.ts";
import { ask } from "../support/child.ts";
import { host, hosted } from "../support/ids.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "ids"] as const;
const O_CLOEXEC = 0o2000000;

function isCloexec(fd: number): boolean {
	const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
	return (Number.parseInt(flags, 8) & O_CLOEXEC) !== 0;
}

test("util.inspect() shows the descriptor or that it is closed, and the size of a cache", { needs }, () => {
	const handles = new Handles();
	const namespace = handles.getSync(hosted("0:100000:65536"));
	const { fd, inode } = namespace;
	assert.equal(inspect(namespace), `UserNamespace { fd: ${fd}, inode: ${inode} }`);
	assert.equal(inspect(handles), "Handles { size: 1 }");
	namespace.close();
	assert.equal(inspect(namespace), "UserNamespace { closed: true }");
	handles.release();
});

test("200 simultaneous gets create one namespace and 200 descriptors, all usable after release", {
	needs: [...needs, "tool:nsenter"],
}, async () => {
	const handles = new Handles();
	const got = await Promise.all(Array.from({ length: 200 }, () => handles.get(hosted("0:100000:65536"))));
	assert.equal(new Set(got.map((ns) => statSync(`/proc/self/fd/${ns.fd}`).ino)).size, 1);
	assert.equal(new Set(got.map((ns) => ns.fd)).size, 200);
	assert.ok(got.every((ns) => isCloexec(ns.fd)));
	assert.equal(handles.size, 1);
	handles.release();
	assert.equal(handles.size, 0);
	for (const ns of got) assert.match(readlinkSync(`/proc/self/fd/${ns.fd}`), /^user:\[\d+\]$/);
	const last = got.pop() as UserNamespace;
	for (const ns of got) ns.close();
	const map = spawnSync(
		"nsenter",
		["--user=/proc/self/fd/3", "--preserve-credentials", "cat", "/proc/self/uid_map"],
		{
			stdio: ["ignore", "pipe", "inherit", last.fd],
			encoding: "utf8",
		},
	);
	assert.equal(map.stdout.trim().split(/\s+/).join(":"), hosted("0:100000:65536"));
	last.close();
});

test("equal mappings share a namespace whatever their order and split; different mappings do not", {
	needs,
}, async () => {
	const handles = new Handles();
	const same = [
		await handles.get(hosted("0:100000:1000,5000:200000:10")),
		await handles.get(hosted("5000:200000:10,0:100000:400,400:100400:600")),
		handles.getSync({
			uidMappings: [
				{ containerID: 5000, hostID: host(200000), size: 10 },
				{ containerID: 0, hostID: host(100000), size: 1000 },
			],
			gidMappings: [
				{ containerID: 0, hostID: host(100000), size: 1000 },
				{ containerID: 5000, hostID: host(200000), size: 10 },
			],
		}),
	];
	const others = [
		await handles.get(hosted("0:100000:1001,5000:200000:10")),
		await handles.get(hosted("0:100000:1000,5000:200000:10"), { setgroups: "allow" }),
	];
	assert.equal(new Set(same.map((ns) => ns.inode)).size, 1);
	assert.equal(new Set([...same, ...others].map((ns) => ns.inode)).size, 3);
	assert.equal(handles.size, 3);
	assert.equal(await (others[1] as UserNamespace).setgroups(), "allow");
	for (const ns of [...same, ...others]) ns.close();
	handles.release();
});

test("a Handles works again after release", { needs }, async () => {
	const handles = new Handles();
	const before = await handles.get(hosted("0:1:1"));
	handles.release();
	handles.release();
	const after = await handles.get(hosted("0:1:1"));
	assert.notEqual(after.inode, before.inode); // before is still held, so the kernel cannot have reused its number
	assert.equal(handles.size, 1);
	before.close();
	after.close();
	handles[Symbol.dispose]();
});

test("a namespace that is created during a release reaches its callers and is not cached", {
	needs,
}, async () => {
	const handles = new Handles();
	const pending = [handles.get(hosted("0:1:1")), handles.get(hosted("0:1:1"))];
	handles.release();
	const later = handles.get(hosted("0:1:1"));
	const [a, b] = (await Promise.all(pending)) as [UserNamespace, UserNamespace];
	const c = await later;
	assert.ok(a.equals(b));
	assert.ok(!a.equals(c));
	assert.equal(handles.size, 1);
	for (const ns of [a, b, c]) ns.close();
	handles.release();
});

test("a getSync during a get leaves one namespace, which both return", { needs }, async () => {
	const handles = new Handles();
	const pending = handles.get(hosted("0:1:1"));
	const now = handles.getSync(hosted("0:1:1"));
	const then = await pending;
	assert.ok(now.equals(then));
	assert.equal(handles.size, 1);
	now.close();
	then.close();
	handles.release();
});

test("an aborted get rejects with AbortError at once and leaks nothing; the other gets go on", {
	needs,
}, async () => {
	const handles = new Handles();
	const controller = new AbortController();
	const aborted = handles.get(hosted("0:1:1"), { signal: controller.signal });
	const kept = handles.get(hosted("0:1:1"));
	controller.abort(new Error("enough"));
	await assert.rejects(aborted, (error: Error & { code?: string }) => {
		assert.equal(error.name, "AbortError");
		assert.equal(error.code, "ABORT_ERR");
		assert.equal((error.cause as Error).message, "enough");
		return true;
	});
	const ns = await kept;
	assert.equal(handles.size, 1);
	ns.close();
	handles.release();

	await assert.rejects(handles.get(hosted("0:1:1"), { signal: AbortSignal.abort() }), { name: "AbortError" });
	assert.equal(handles.size, 0);

	const alone = new AbortController();
	const unshared = handles.get(hosted("0:2:1"), { signal: alone.signal });
	alone.abort();
	await assert.rejects(unshared, { name: "AbortError" });
	await sleep(50); // the leak check around this test sees what the creation left
	assert.equal(handles.size, 0);

	const direct = new AbortController();
	const created = UserNamespace.create(hosted("0:2:1"), { signal: direct.signal });
	direct.abort();
	await assert.rejects(created, { name: "AbortError" });
	await sleep(50);
});

test("a failed get leaves nothing in the cache, and the next get works", {
	needs: ["linux", "root", "user"],
}, () => {
	const answer = ask<{
		code: string;
		errnoCode: string;
		mapping: string;
		step: string;
		hint: string;
		size: number;
		ok: boolean;
	}>(
		`const handles = new userns.Handles();
		const error = await handles.get("0:0:1", { method: "direct" }).catch((e) => e);
		const size = handles.size;
		const own = await handles.get("u:0:" + process.getuid() + ":1,g:0:" + process.getgid() + ":1");
		console.log(JSON.stringify({ ...error.toJSON(), size, ok: own.fd > 2 }));`,
		{ uid: 54321, gid: 54321 },
	);
	assert.equal(answer.code, "ERR_USERNS_CREATE");
	assert.equal(answer.errnoCode, "EPERM");
	assert.equal(answer.mapping, "0:0:1");
	assert.match(answer.step, /uid_map/);
	assert.match(answer.hint, /CAP_SETUID/);
	assert.equal(answer.size, 0);
	assert.ok(answer.ok);
});

test("the event loop runs while the kernel delays a get", {
	needs: [...needs, "root", "tool:strace"],
}, (t) => {
	const folder = mkdtempSync(join(tmpdir(), "userns-strace-"));
	t.after(() => rmSync(folder, { recursive: true }));
	// Each openat2(2) takes half a second: those of a creation, because Node makes none. On the event loop's thread
	// they would block it.
	const slowly = ["-f", "-qq", "-o", join(folder, "trace"), "-e", "trace=openat2"];
	const answer = ask<{ turns: number; settled: boolean; after: boolean }>(
		`const handles = new userns.Handles();
		let settled = false, turns = 0;
		const got = handles.get("${hosted("0:1:1")}").then((ns) => { settled = true; return ns; });
		for (; turns < 100; turns++) await new Promise((next) => setImmediate(next));
		const before = settled;
		const ns = await got;
		console.log(JSON.stringify({ turns, settled: before, after: ns.fd > 2 }));`,
		{ prefix: ["strace", ...slowly, "-e", "inject=openat2:delay_enter=500000"] },
	);
	assert.deepEqual(answer, { turns: 100, settled: false, after: true });
	assert.match(readFileSync(join(folder, "trace"), "utf8"), /openat2/);
});

test("invalid options throw before a namespace is created", async () => {
	const handles = new Handles();
	const wrong: [unknown, RegExp][] = [
		[{ setgroup: "deny" }, /unknown option "setgroup"/],
		[{ setgroups: "maybe" }, /setgroups must be/],
		[{ signal: {} }, /signal must be an AbortSignal/],
		["allow", /must be an object/],
	];
	for (const [options, message] of wrong) {
		await assert.rejects(handles.get(hosted("0:1:1"), options as object), (error: UsernsError) => {
			assert.ok(error instanceof UsernsError);
			assert.equal(error.code, "ERR_USERNS_INVALID_ARGUMENT");
			assert.match(error.message, message);
			return true;
		});
	}
	assert.equal(handles.size, 0);
});
