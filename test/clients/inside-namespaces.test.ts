import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mountIdmapped, pin, UserNamespace, unmount } from "../../src/index.ts";
import { packageForAll } from "../support/child.ts";
import { exampleCommand } from "../support/examples.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import type { Need } from "../support/needs.ts";
import { makeUser, privateMounts, runToEnd, USER } from "../support/private-mounts.ts";
import { assertRefused, attackProgram, results } from "../support/sandbox-attacks.ts";
import { test } from "../support/test.ts";

/*
 * Attacks from inside the programs that `spawn` and `userns exec` run, and on these programs: see inside-bwrap.test.ts.
 */
const needs = ["linux", "root", "mounts", "static"] as const;
const asUser = (folder: string) => privateMounts({ user: makeUser(folder) });

/** Files in the machine's own /proc that only the host's root may write. */
const PROC = ["write=/proc/sys/kernel/printk", "write=/proc/sys/kernel/core_pattern"];

/** Attacks on a program that has only its own namespaces, with a read-only mount at `location`. */
const inNamespaces = (location: string) => [
	...[`remount=${location}`, `umount=${location}`, `uncover=${location}/new`, `create=${location}/new`],
	...[`nested-remount=${location}`, `nested-umount=${location}`, `nested-uncover=${location}/new`],
	...[
		"mknod=/var/tmp/device",
		`kill=${process.pid}`,
		`trace=${process.pid}`,
		"setns=3",
		"inherited=",
		...PROC,
	],
];

for (const [name, command, required] of [
	["examples/spawn.ts", (..._: string[]) => exampleCommand("spawn"), needs],
	[
		"userns exec --map 0:2100000000:65536 --unshare mount,pid",
		() => [...cli(), "exec", "--map", "0:2100000000:65536", "--unshare", "mount,pid", "--"],
		needs,
	],
	[
		"userns exec --map auto --unshare mount,pid",
		() => [...cli(), "exec", "--map", "auto", "--unshare", "mount,pid", "--"],
		[...needs, "user", "tool:newuidmap"],
	],
] as [string, () => string[], readonly Need[]][]) {
	test(
		`${name}: a read-only mount stays read-only, and no attack reaches the host`,
		{ needs: required },
		() =>
			withTmpfs(async (folder) => {
				const [source = "", location = ""] = mkdirs(folder, "source", "location");
				chmodSync(source, 0o777);
				const mount = await mountIdmapped({
					...{ source, target: location, mapping: "0:2100000000:65536", readonly: true },
				});
				try {
					const before = readFileSync("/proc/self/mountinfo", "utf8");
					const prefix = name.includes("auto") ? asUser(folder) : privateMounts({});
					const attacks = inNamespaces(location);
					const { status, stdout, stderr } = runToEnd([...prefix, ...command(), attackProgram(), ...attacks]);
					assert.equal(status, 0, stderr);
					assertRefused(stdout, attacks);
					assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
				} finally {
					await mount.unmount();
				}
			}),
	);
}

function cli(): string[] {
	return [process.execPath, join(packageForAll(), "dist/src/cli/userns.js")];
}

test(
	"a user to whom /etc/subuid gives the mapping's IDs kills root's program; no user does with the documents' range",
	{
		needs: [...needs, "user", "tool:newuidmap"],
	},
	() =>
		withTmpfs(async (folder) => {
			const prefix = asUser(folder);
			const kill = (pid: number) =>
				runToEnd([
					...prefix,
					...cli(),
					"exec",
					"--map",
					"auto",
					"--uid",
					"1",
					"--",
					attackProgram(),
					`kill=${pid}`,
				]);
			for (const [first, expected] of [
				[USER.first, "ok"],
				[2_100_000_000, "EPERM"],
			] as const) {
				const ns = await UserNamespace.create(`0:${first}:1000`);
				const child = ns.spawn("cat", { stdio: ["pipe", "pipe", "inherit"] });
				try {
					child.stdin?.write("ready\n");
					await once(child.stdout as NodeJS.ReadableStream, "data");
					const { stdout, stderr } = kill(child.pid as number);
					assert.equal(results(stdout).get(`kill=${child.pid}`), expected, stderr);
				} finally {
					child.stdin?.end();
					await once(child, "close");
					ns.close();
				}
			}
		}),
);

test(
	"userns create --at: an ordinary user opens the pinned namespace, and cannot join it",
	{
		needs: [...needs, "user", "tool:nsenter"],
	},
	() =>
		withTmpfs(async (folder) => {
			const path = join(folder, "pinned");
			const ns = await UserNamespace.create("0:2100000000:65536");
			pin(ns, path);
			ns.close();
			try {
				const before = privateMounts({ uid: USER.uid });
				const entered = runToEnd([...before, "nsenter", `--user=${path}`, "true"]);
				assert.notEqual(entered.status, 0);
				assert.match(entered.stderr, /Operation not permitted/);
				const ours = runToEnd([...before, ...cli(), "exec", "--in", path, "--", "true"]);
				assert.notEqual(ours.status, 0);
				assert.match(ours.stderr, /EPERM|CAP_SYS_ADMIN/);
			} finally {
				unmount(path);
			}
		}),
);
