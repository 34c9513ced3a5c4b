import assert from "node:assert/strict";
import type { FoundCause } from "../../src/index.ts";
import { filter } from "../support/broken.ts";
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

test("doctor under a filter tries calls with the node of PATH if this process is another program, such as a single executable", {
	needs,
}, () => {
	const { before = "", through = [] } = filter("setns");
	// A program of another name, and a node in PATH that says that it ran.
	const agent = `touch /mnt/bin/agent /mnt/bin/ran; chmod 666 /mnt/bin/ran
mount --bind ${process.execPath} /mnt/bin/agent
printf '#!/bin/sh\\necho ran >> /mnt/bin/ran\\nexec ${process.execPath} "$@"\\n' > /mnt/bin/node; chmod 755 /mnt/bin/node`;
	for (const [program, ran] of [
		["/mnt/bin/agent", "ran\n"],
		[process.execPath, ""],
	] as const) {
		const user = freshUser({
			before: `${before}\n${agent}`,
			path: "/mnt/bin:/usr/bin:/bin",
			through: [...through, "/bin/sh", "-c", 'shift; exec "$0" "$@"', program],
		});
		const answer = askAs<{ ids: string[]; ran: string; program: string }>(
			user,
			`import { readFileSync } from "node:fs";
			const { causes } = await userns.doctor({ for: "spawn" });
			const ids = causes.map(({ id }) => id);
			console.log(JSON.stringify({ ids, ran: readFileSync("/mnt/bin/ran", "utf8"), program: process.execPath }));`,
		);
		assert.deepEqual(answer, { ids: ["seccomp-filter"], ran, program });
	}
});
