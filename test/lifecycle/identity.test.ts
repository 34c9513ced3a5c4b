import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { forRoot, prelude, supervised } from "../support/operations.ts";
import { ACTION, SCOPE } from "../support/supervise.ts";
import { test } from "../support/test.ts";

/*
 * A process changes its user with setuid(2) during work on other threads. libc changes the IDs of those threads with a
 * signal, wherever they are: work that began as one user would end as another.
 */

const needs = ["linux", "root"] as const;

test("a creation after setuid(2) is the new user's, also on threads that existed before", { needs }, () => {
	const { before, after } = ask<{ before: number; after: number }>(
		`const owner = async (mapping) => { const ns = await userns.UserNamespace.create(mapping); const uid = ns.ownerUid(); ns.close(); return uid; };
		const before = await owner("0:100000:10");
		process.setgroups([]); process.setgid(${OTHER_UID}); process.setuid(${OTHER_UID});
		console.log(JSON.stringify({ before, after: await owner("0:${OTHER_UID}:1") }));`,
	);
	assert.deepEqual([before, after], [0, OTHER_UID]);
});

test("creations that setuid(2) interrupts end, although the process may not kill their children any more", {
	needs,
}, () => {
	for (let i = 0; i < 10; i++) {
		const ended = ask<number>(
			`(await userns.UserNamespace.create("0:1:1")).close();
			const all = Array.from({ length: 200 }, (_, i) => userns.UserNamespace.create("0:" + (i + 1) + ":1").then((ns) => ns.close(), () => {}));
			const until = performance.now() + 1 + Math.random() * 6;
			while (performance.now() < until);
			process.setgid(${OTHER_UID}); process.setuid(${OTHER_UID});
			console.log(JSON.stringify((await Promise.all(all)).length));`,
		);
		assert.equal(ended, 200);
	}
});

test("setuid(2) during newuidmap: the creation ends, and the process has the dumpable flag that setuid(2) sets", {
	needs: [...needs, "tool:newuidmap", "tool:newgidmap", "tool:unshare"],
}, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-slow-newidmap-"));
	try {
		chmodSync(folder, 0o755);
		for (const name of ["newuidmap", "newgidmap"]) {
			writeFileSync(join(folder, name), "#!/bin/sh\nsleep 0.5\n", { mode: 0o755 });
		}
		const { settled, children, owner } = ask<{ settled: string; children: string; owner: number }>(
			`import fs from "node:fs";
			const made = userns.UserNamespace.create("0:1:1", { method: "newuidmap" });
			await new Promise((next) => setTimeout(next, 200));
			process.setgid(${OTHER_UID}); process.setuid(${OTHER_UID});
			const settled = await made.then((ns) => { ns.close(); return "made"; }, (error) => error.code);
			const children = readChildren().join(" ");
			console.log(JSON.stringify({ settled, children, owner: fs.statSync("/proc/self/status").uid }));`,
			{ env: { PATH: `${folder}:${process.env.PATH}` } },
		);
		// The namespace has no map, because these programs write none. The test only needs the creation to end with a
		// result.
		assert.match(settled, /^ERR_USERNS_/);
		assert.equal(children, "");
		// The kernel has cleared the dumpable flag: the new user's other processes could trace a dumpable process.
		assert.equal(owner, 0);
		const script = `const userns = await import(process.argv[1]);
			userns.UserNamespace.create("0:1:1", { method: "newuidmap" }).catch(() => {});
			await new Promise((next) => setTimeout(next, 200));
			process.setgid(${OTHER_UID}); process.setuid(${OTHER_UID});
			process.kill(process.pid, "SIGKILL");`;
		// The programs end by themselves after a while. Process 1 reaps its orphans here, and counts those that do not
		// end.
		const first = `import { spawnSync } from "node:child_process";
			import fs from "node:fs";
			spawnSync(process.execPath, ["--input-type=module", "-e", ${JSON.stringify(script)}, process.argv[1]]);
			await new Promise((next) => setTimeout(next, 1000));
			console.log(fs.readdirSync("/proc").filter((name) => {
				if (!/^[0-9]+$/.test(name) || name === "1") return false;
				return !/^State:\\s*Z/m.test(fs.readFileSync("/proc/" + name + "/status", "utf8"));
			}).length);`;
		const url = new URL("../../src/index.js", import.meta.url).href;
		const node = [
			"env",
			`PATH=${folder}:${process.env.PATH}`,
			process.execPath,
			"--input-type=module",
			"-e",
			first,
			url,
		];
		assert.equal(sh("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", ...node).trim(), "0");
	} finally {
		rmSync(folder, { recursive: true });
	}
});

test(
	"setuid(2) during an attach: a mount that is reported as failed does not stay attached",
	{
		// In User-Mode Linux, which has one processor, no attach of 600 was in the middle.
		needs: [...needs, "mounts", "processors"],
	},
	() =>
		withTmpfs((folder) => {
			const [source = ""] = mkdirs(folder, "source");
			const { refused, wrong } = ask<{ refused: number; wrong: string[] }>(
				`import fs from "node:fs";
			const [source, folder] = ${JSON.stringify([source, folder])};
			const busy = (ms) => { const until = performance.now() + ms; while (performance.now() < until); };
			// An attach has two steps on other threads. The second begins when this thread has the result of the first.
			const turn = async (ms) => { const until = performance.now() + ms; while (performance.now() < until) await new Promise(setImmediate); };
			let refused = 0;
			const wrong = [];
			// Other tests share the processors, so the number of rounds until one is in the middle is not known.
			const end = performance.now() + 60_000;
			for (let i = 0; i < 600 || (refused === 0 && performance.now() < end); i++) {
				const target = folder + "/target-" + i;
				fs.mkdirSync(target);
				const mount = await userns.mountIdmapped({ source, mapping: "0:1:1" });
				const said = mount.attach(target).then(() => "", (error) => error.message);
				await turn(Math.random() * (i < 600 ? 0.2 : 2));
				process.seteuid(${OTHER_UID});
				busy(0.3);
				process.seteuid(0);
				const words = await said;
				if (words !== "") {
					refused++;
					if (fs.readFileSync("/proc/self/mountinfo", "utf8").includes(target + " ")) wrong.push(words);
				} else await mount.unmount();
				mount.close();
			}
			console.log(JSON.stringify({ refused, wrong }));`,
			);
			assert.deepEqual(wrong, []);
			assert.ok(refused > 0, "none was met in the middle");
		}),
);

test(
	"seteuid(2) while a child attaches: the child ends with the user with which it began",
	{
		needs: [...needs, "mounts", "tool:cc"],
	},
	() =>
		withTmpfs((folder) => {
			mkdirs(folder, "source", "target");
			const operation = forRoot.find((each) => each.name === "mountIdmapped, with a targetRoot");
			assert.ok(operation);
			const { status, stdout, stderr } = supervised(
				`${prelude(operation, folder)}
			const results = [];
			for (let index = 1; index < 100; index++) {
				let became = false;
				const timer = setInterval(() => {
					if (became || !isHeld()) return;
					process.seteuid(${OTHER_UID});
					became = true;
					letGo();
				}, 1);
				arm(${ACTION.hold}, ${SCOPE.children}, index, 4000);
				const made = await run().catch((error) => error);
				const { hit } = disarm();
				clearInterval(timer);
				process.seteuid(0);
				if (hit === undefined) { await made.unmount(); break; }
				results.push(made instanceof Error ? [hit, String(made)] : await check(undefined, made));
			}
			console.log(JSON.stringify(results));`,
			);
			assert.equal(status, 0, stderr);
			const results = JSON.parse(stdout) as unknown[];
			assert.ok(results.length > 5, `${results.length} calls`);
			assert.deepEqual(
				results,
				results.map(() => true),
			);
		}),
);
