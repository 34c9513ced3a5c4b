import assert from "node:assert/strict";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type NamespaceSpawnOptions, UserNamespace } from "../../src/index.ts";
import { type Attacker, type Home, OVERFLOW, withAttacker } from "../support/attacker.ts";
import { ask } from "../support/child.ts";
import { OTHER_UID } from "../support/needs.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

const LONG = process.env.USERNS_LONG === "1";
/** In each of the two namespaces. Fewer on a slow machine: of 1000 the attacker seizes hundreds without PR_SET_DUMPABLE. */
const READS = LONG ? 20_000 : Math.ceil(250 / SLOWER) * 4;
const SPAWNS = READS;
const needs = ["linux", "root", "tool:cc", "tool:nsenter"] as const;
const MAP = "0:100000:65536";

/** No process of the host, and no process of this package, not even a program that holds IDs of the namespace. */
function nobodyOfOurs(attacker: Attacker): void {
	const ours = attacker.caught().filter(({ uid, name }) => uid === OVERFLOW || name.startsWith("userns-"));
	assert.deepEqual(ours, []);
}

async function readBacks(ns: UserNamespace, attacker: Attacker): Promise<void> {
	const bare = UserNamespace.open(`/proc/self/fd/${ns.fd}`);
	const ids = ns.mappingSync().size.uid;
	for (let i = 0; i < READS; i++) {
		// A new object each time, because an object that has read its mapping does not read it again.
		const again = UserNamespace.open(`/proc/self/fd/${bare.fd}`);
		assert.equal(i % 2 === 0 ? again.mappingSync().size.uid : (await again.mapping()).size.uid, ids);
		again.close();
	}
	bare.close();
	nobodyOfOurs(attacker);
}

async function spawns(ns: UserNamespace, attacker: Attacker): Promise<void> {
	const other = ns.mappingSync().size.uid > 1 ? { uid: 1000, gid: 1000 } : {};
	await run(ns, attacker, [{}, other, { unshare: ["net", "ipc"] }, { unshare: ["pid", "mount"] }]);
}

/** In the host's pid namespace the attacker sees the process from before it joins, in another one from its start inside. */
async function joins(ns: UserNamespace, attacker: Attacker): Promise<void> {
	const { pid } = attacker;
	const other = ns.mappingSync().size.uid > 1 ? { uid: 1000, gid: 1000 } : {};
	const hasPids = readlinkSync(`/proc/${pid}/ns/pid`) !== readlinkSync("/proc/self/ns/pid");
	const kinds = hasPids ? (["pid", "mount"] as const) : (["mount", "net"] as const);
	await run(ns, attacker, [
		{ join: { pid, kinds: "all" } },
		{ join: { pid, kinds: "all" }, ...other, cwd: "/tmp" },
		{ join: { pid, kinds } },
		{ join: { pid, kinds: kinds.slice(0, 1) }, unshare: ["ipc"] },
	]);
}

/** Runs four at a time. The attacker kills the programs that it catches, and may do so. */
async function run(
	ns: UserNamespace,
	attacker: Attacker,
	options: readonly NamespaceSpawnOptions[],
): Promise<void> {
	let ended = 0;
	await Promise.all(
		options.map(async (each) => {
			for (let i = 0; i < SPAWNS / options.length; i++) {
				await once(ns.spawn("sleep", ["0.002"], { ...each, stdio: "ignore" }), "close");
				ended++;
			}
		}),
	);
	assert.equal(ended, SPAWNS);
	await sleep(20);
	nobodyOfOurs(attacker);
	assert.ok(
		attacker.caught().length > 0,
		"the attacker was awake: it caught programs, with IDs of the namespace",
	);
}

/**
 * In a namespace that root created, PR_SET_DUMPABLE alone protects a process that joins: without it this attacker
 * seizes hundreds. In a namespace that another user created, setns(2) itself makes the process undumpable
 * (commit_creds() in the kernel). There the rows show that this package does not undo that before the process has the
 * namespace's IDs.
 */
const homes: [whose: string, open: () => Promise<Home>][] = [
	["of root's", async () => ({ ns: await UserNamespace.create(MAP, { setgroups: "allow" }) })],
	["of an ordinary user's", async () => ({ owner: OTHER_UID })],
];
const attacks: [what: string, attack: typeof spawns][] = [
	[`${READS} read-backs`, readBacks],
	[`${SPAWNS} spawns`, spawns],
];

for (const [whose, open] of homes) {
	for (const [what, attack] of attacks) {
		test(`an attacker in a namespace ${whose} never traces a process of this package: ${what}`, {
			needs,
			timeout: 600_000,
		}, async () => {
			const home = await open();
			await withAttacker(home, attack);
			if ("ns" in home) home.ns.close();
		});
	}
}

const CONTAINER = ["--mount", "--net", "--uts", "--ipc"];
const containers: [what: string, unshare: readonly string[]][] = [
	["the host's pid namespace", CONTAINER],
	["its own pid namespace", [...CONTAINER, "--pid", "--fork", "--kill-child", "--mount-proc"]],
];
for (const [whose, open] of homes) {
	for (const [what, unshare] of containers) {
		test(`an attacker in a container ${whose}, with ${what}, never gets into a process of this package: ${SPAWNS} joins`, {
			needs: [...needs, "mounts", "tool:unshare"],
			timeout: 600_000,
		}, async () => {
			const home = await open();
			await withAttacker({ ...home, unshare }, joins);
			if ("ns" in home) home.ns.close();
		});
	}
}

test("no process joins when fs.suid_dumpable is 1, because a joining process could be traced", {
	needs: ["linux", "root", "mounts", "path:/mnt", "tool:unshare"],
}, () => {
	// The file of fs.suid_dumpable: it is 1 here. With the real setting this attacker seized userns-enter.
	const errors = ask<Record<string, string>[]>(
		`import fs from "node:fs";
		import { spawnSync } from "node:child_process";
		const ns = userns.UserNamespace.createSync("0:100000:10");
		const bare = () => userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		fs.mkdirSync("/mnt/x");
		fs.writeFileSync("/mnt/x/one", "1\\n");
		spawnSync("mount", ["--bind", "/mnt/x/one", "/proc/sys/fs/suid_dumpable"]);
		const errors = [await bare().mapping().catch((e) => e)];
		for (const attempt of [() => bare().mappingSync(), () => ns.spawn("true"), () => ns.exec("true")])
			try { attempt(); } catch (error) { errors.push(error); }
		console.log(JSON.stringify(errors));`,
		{
			prefix: [
				...["unshare", "--mount", "--propagation", "private"],
				...["sh", "-c", 'mount -t tmpfs x /mnt; exec "$@"', "sh"],
			],
		},
	);
	assert.deepEqual(
		errors.map(({ code }) => code),
		["ERR_USERNS_READ_MAPPING", "ERR_USERNS_READ_MAPPING", "ERR_USERNS_SPAWN", "ERR_USERNS_SPAWN"],
	);
	for (const { hint } of errors) assert.match(hint ?? "", /suid_dumpable: it is 1/);
});
