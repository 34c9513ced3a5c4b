import assert from "node:assert/strict";
import { join } from "node:path";
import { UserNamespace } from "../../src/index.ts";
import { ask, packageForAll, type ScriptOptions } from "../support/child.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "tool:nsenter"] as const;

/** Options for a script that runs as root of the namespace. */
function rootOf(ns: UserNamespace): ScriptOptions {
	return {
		prefix: ["nsenter", "--user=/proc/self/fd/3", "--setuid", "0", "--setgid", "0"],
		stdio: ["ignore", "pipe", "pipe", ns.fd],
	};
}

/**
 * Eight extents that continue each other inside but not outside: an extent across them must be cut (CVE-2018-18955: >
 * 5).
 */
const EIGHT = Array.from({ length: 8 }, (_, i) => `${i * 10}:${100_000 + i * 1000}:10`).join(",");
const ADDON = `import { createRequire } from "node:module";
	const addon = createRequire("/")(${JSON.stringify(join(packageForAll(), `prebuilds/userns.linux-${process.arch}.node`))});`;

test("create cuts a map at the extents of the caller's namespace", { needs }, async () => {
	const outer = await UserNamespace.create(EIGHT, { setgroups: "allow" });
	const answer = ask<{ refused: number; step: string; id: string; lines: string[] }>(
		`${ADDON}
		import { spawnSync } from "node:child_process";
		const uncut = addon.createMethod(() => {})("0 0 80", null, false, true, [], -1);
		const ns = await userns.UserNamespace.create("0:0:80");
		const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		const inside = spawnSync("nsenter", ["--user=/proc/self/fd/3", "--preserve-credentials", "cat", "/proc/self/uid_map"],
			{ stdio: ["ignore", "pipe", "inherit", ns.fd], encoding: "utf8" });
		console.log(JSON.stringify({ refused: uncut.error, step: uncut.step, id: (await bare.mapping()).id,
			lines: inside.stdout.trim().split("\\n").map((line) => line.trim().split(/\\s+/).join(":")) }));`,
		rootOf(outer),
	);
	outer.close();
	// The control: the kernel refuses the same map in one piece.
	assert.equal(answer.refused, -1);
	assert.equal(answer.step, "uid_map");
	assert.deepEqual(
		answer.lines,
		Array.from({ length: 8 }, (_, i) => `${i * 10}:${i * 10}:10`),
	);
	assert.equal(answer.id, "0:0:80");
});

test("an ID that the caller's namespace lacks is named before any system call", { needs }, async () => {
	const outer = await UserNamespace.create(EIGHT, { setgroups: "allow" });
	const answer = ask<{ code: string; message: string; hint: string; errno?: number }[]>(
		`const errors = [];
		for (const map of ["0:80:1", "0:75:10", "u:0:0:1,g:0:4294967294:1"])
			errors.push(await userns.UserNamespace.create(map).catch((e) => e));
		console.log(JSON.stringify(errors));`,
		rootOf(outer),
	);
	outer.close();
	const missing = ["uid 80", "uid 80", "gid 4294967294"];
	answer.forEach((error, index) => {
		assert.equal(error.code, "ERR_USERNS_UNMAPPED_ID");
		assert.ok(error.message.includes(`needs the ${missing[index]},`), error.message);
		assert.match(error.hint, /0–9, 10–19/);
		assert.equal(error.errno, undefined);
	});
});

test("a map that exceeds the kernel's 340 lines when it is cut is refused before any system call", {
	needs,
}, async () => {
	const many = Array.from({ length: 300 }, (_, i) => `${i}:${i * 2}:1`).join(",");
	const outer = await UserNamespace.create(`${many},300:1000:100`, { setgroups: "allow" });
	const answer = ask<{ code: string; message: string }>(
		`const map = ["0:0:301"];
		for (let i = 0; i < 45; i++) map.push((400 + i * 2) + ":" + (302 + i * 2) + ":1");
		console.log(JSON.stringify(await userns.UserNamespace.create(map.join(",")).catch((e) => e)));`,
		rootOf(outer),
	);
	outer.close();
	assert.equal(answer.code, "ERR_USERNS_INVALID_MAPPING");
	assert.match(answer.message, /346 extents/);
});

test('setgroups: "allow" below a namespace that denies setgroups is an error, and does not become "deny"', {
	needs,
}, async () => {
	const outer = await UserNamespace.create("0:0:1,1:100000:10");
	const answer = ask<{ code: string; errnoCode: string; hint: string; step: string }>(
		`console.log(JSON.stringify(await userns.UserNamespace.create("0:0:1", { setgroups: "allow" }).catch((e) => e)));`,
		{
			prefix: ["nsenter", "--user=/proc/self/fd/3", "--preserve-credentials"],
			stdio: ["ignore", "pipe", "pipe", outer.fd],
		},
	);
	outer.close();
	assert.equal(answer.code, "ERR_USERNS_CREATE");
	assert.equal(answer.errnoCode, "EPERM");
	assert.match(answer.step, /setgroups/);
	assert.match(answer.hint, /denies setgroups/);
});

test("a mount with owner counts the IDs of this process for a container without a user namespace of its own", {
	needs: [...needs, "mounts", "linux:6.3"],
}, async () => {
	const outer = await UserNamespace.create("0:2100000000:1000", { setgroups: "allow" });
	const answer = ask<Record<string, [string, number, number, string[]]>>(
		`import { spawn, execFileSync } from "node:child_process";
			import { chownSync, mkdirSync, statSync } from "node:fs";
			execFileSync("mount", ["-t", "tmpfs", "here", "/mnt"]);
			mkdirSync("/mnt/source");
			mkdirSync("/mnt/target");
			chownSync("/mnt/source", 7, 8);
			const container = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 1000"]);
			await new Promise((resolve) => container.stdout.once("data", resolve));
			const [source, target, owner] = ["/mnt/source", "/mnt/target", { uid: 5, gid: 6 }];
			const seen = {};
			for (const process of [container.pid, \`/proc/\${container.pid}/ns/mnt\`]) {
				for (const [name, where] of Object.entries({ into: { into: process }, from: { from: process }, both: { from: process, into: process } })) {
					const mount = await userns.mountIdmapped({ source, target, owner, ...where });
					const at = name === "from" ? target : \`/proc/\${container.pid}/root\${target}\`;
					const { uid, gid } = statSync(at);
					seen[\`\${name} \${typeof process}\`] = [mount.mapping.id, uid, gid, mount.warnings];
					await mount.unmount();
				}
			}
			container.kill();
			console.log(JSON.stringify(seen));`,
		{
			...rootOf(outer),
			prefix: [...(rootOf(outer).prefix ?? []), "unshare", "--mount", "--propagation", "private"],
		},
	);
	outer.close();
	const expected = ["u:7:5:1,g:8:6:1", 5, 6, []];
	const names = ["into", "from", "both"].flatMap((name) => [`${name} number`, `${name} string`]);
	assert.deepEqual(answer, Object.fromEntries(names.map((name) => [name, expected])));
});
