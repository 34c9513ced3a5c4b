import assert from "node:assert/strict";
import type { FoundCause } from "../../src/index.ts";
import { filter, KILL } from "../support/broken.ts";
import { ask } from "../support/child.ts";
import { askAs, freshUser } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

/* What doctor() and errors return; the causes are tested in doctor.test.ts. */

const needs = ["linux", "root", "ordinary", "mounts", "tool:cc", "linux:6.5"] as const;

test("doctor: without an option all checks are made, and ok is about programs", { needs }, async () => {
	const { ok, causes, checks } = ask<Record<string, never>>(
		"console.log(JSON.stringify(await userns.doctor()))",
	);
	assert.equal(ok, true);
	assert.deepEqual(causes, []);
	const names = (checks as unknown as { name: string }[]).map(({ name }) => name);
	assert.deepEqual(names, ["namespaces", "programs", "ids", "mounts"]);
});

test("an error has the causes from which its hint is made, of each operation", { needs }, () => {
	const errors = ask<{ hint: string; causes: FoundCause[]; keys: string[] }[]>(
		`const errors = [];
		const fails = async (call) => { try { await call(); } catch (error) { errors.push({ hint: error.hint, causes: error.causes, keys: Object.keys(error) }); } };
		await fails(() => userns.UserNamespace.create("0:2100000000:5"));
		await fails(() => userns.mountIdmapped({ source: "/tmp", mapping: "0:1:5" }));
		await fails(() => userns.pin(userns.UserNamespace.createSync("0:0:1"), "/run/userns-none"));
		console.log(JSON.stringify(errors));`,
		{ prefix: ["setpriv", "--bounding-set=-setuid,-sys_admin"] },
	);
	assert.equal(errors.length, 3);
	for (const { hint, causes, keys } of errors) {
		assert.deepEqual(
			causes.map(({ id }) => id),
			["missing-capability"],
		);
		assert.equal(hint, `${causes[0]?.fix}: ${causes[0]?.message}.`);
		assert.ok(!keys.includes("causes"), "util.inspect() shows the hint alone");
	}
});

test("doctor finds a filter that refuses a call, or ends a process for it, and runs no program for that", {
	needs,
}, () => {
	for (const call of ["setns", `setns=${KILL}`]) {
		const { before = "", through = [] } = filter(call);
		// A runtime of another name, such as a single executable, with no node in PATH.
		const user = freshUser({
			before: `${before}\ntouch /mnt/bin/agent; mount --bind ${process.execPath} /mnt/bin/agent`,
			path: "/usr/sbin:/sbin",
			through: [...through, "/bin/sh", "-c", 'shift; exec "$0" "$@"', "/mnt/bin/agent"],
		});
		const answer = askAs<{ causes: FoundCause[]; program: string; children: string[] }>(
			user,
			`import { readdirSync, readFileSync } from "node:fs";
			const { causes } = await userns.doctor({ for: "spawn" });
			const parent = (pid) => { try { return / . (\\d+) /.exec(readFileSync("/proc/" + pid + "/stat", "utf8"))[1]; } catch { return "gone"; } };
			const children = readdirSync("/proc").filter((pid) => /^\\d+$/.test(pid) && parent(pid) === String(process.pid));
			console.log(JSON.stringify({ causes, program: process.execPath, children }));`,
		);
		assert.equal(answer.program, "/mnt/bin/agent");
		assert.deepEqual(answer.children, [], "each child is reaped");
		assert.deepEqual(
			answer.causes.map(({ id }) => id),
			["seccomp-filter"],
		);
		assert.match(answer.causes[0]?.message ?? "", /a call of setns\(2\)/);
	}
});
