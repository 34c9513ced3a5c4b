import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { packageForAll } from "../support/child.ts";
import { exampleCommand, runExample } from "../support/examples.ts";
import { withTmpfs } from "../support/mounts.ts";
import type { Need } from "../support/needs.ts";
import { words } from "../support/oci-tests.ts";
import { type Ended, makeUser, privateMounts, runToEnd } from "../support/private-mounts.ts";
import { assertRefused, attackProgram, results } from "../support/sandbox-attacks.ts";
import { test } from "../support/test.ts";

/*
 * Each example and recipe of the documents is attacked once from inside, as root and as an ordinary user. The test
 * states what the kernel must refuse before the call. Where a recipe leaves a defence out on purpose, the same attack
 * must succeed.
 */
const needs = ["linux", "root", "mounts", "static"] as const;
const bwrap = [...needs, "tool:bwrap"] as const;
const user = [...bwrap, "user", "tool:newuidmap"] as const;
const asUser = (folder: string) => privateMounts({ user: makeUser(folder) });
const asRoot = () => privateMounts({});
const WHO: [string, readonly Need[], (folder: string) => string[]][] = [
	["root", bwrap, asRoot],
	["an ordinary user", user, asUser],
];

/** Files in the machine's own /proc that only the host's root may write. */
const PROC = ["write=/proc/sys/kernel/printk", "write=/proc/sys/kernel/core_pattern"];

/** Attacks on a sandbox that shows the machine's files read-only and covers /run and /tmp. `folder` is in /tmp. */
const inSandboxOf = (folder: string) => [
	...["remount=/", "umount=/tmp", "umount=/run", `uncover=${folder}/secret`, "chroot=/tmp"],
	...["nested-remount=/", "nested-umount=/tmp", "nested-umount=/run", `nested-uncover=${folder}/secret`],
	...["create=/attacked", "create=/var/tmp/attacked", "connect=/run/userns-test/socket", "setns=3"],
	...["mknod=/tmp/device", "nested-mknod=/tmp/device", ...PROC],
];

/** Puts a file into /tmp and a service's socket into /run, in a mount namespace of the test's own. */
async function withSecrets(
	prefix: (folder: string) => string[],
	body: (before: string[], folder: string) => void | Promise<void>,
): Promise<void> {
	await withTmpfs(async (folder) => {
		const server = createServer().listen(join(folder, "socket"));
		await once(server, "listening");
		chmodSync(join(folder, "socket"), 0o777);
		writeFileSync(join(folder, "secret"), "");
		const script =
			'mount -t tmpfs run /run && mkdir /run/userns-test && mount --bind "$0" /run/userns-test && exec "$@"';
		const hide = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, folder];
		try {
			await body([...hide, ...prefix(folder)], folder);
		} finally {
			server.close();
			await once(server, "close");
		}
	});
}

for (const [who, required, prefix] of WHO) {
	test(
		`examples/bwrap-sandbox.ts as ${who}: read-only mounts stay read-only, and covered directories stay covered`,
		{ needs: required },
		() =>
			withSecrets(prefix, (before, folder) => {
				const attacks = inSandboxOf(folder);
				const { status, stdout, stderr } = runExample(before, "bwrap-sandbox", attackProgram(), ...attacks);
				assert.equal(status, 0, stderr);
				assertRefused(stdout, attacks);
			}),
	);

	test(
		`examples/bwrap-sandbox.ts as ${who}: neither the command nor process 1 has a capability`,
		{ needs: required },
		() =>
			withTmpfs((folder) => {
				const look = ["sh", "-c", "cat /proc/self/status /proc/1/status; ls /proc | grep -cx '[0-9]*'"];
				const { status, stdout, stderr } = runExample(prefix(folder), "bwrap-sandbox", ...look);
				assert.equal(status, 0, stderr);
				const capabilities = [...stdout.matchAll(/^Cap(?:Prm|Eff|Amb|Inh):\t(.*)$/gm)].map(([, set]) => set);
				assert.deepEqual(capabilities, Array(8).fill("0000000000000000"));
				assert.equal([...stdout.matchAll(/^NoNewPrivs:\t1$/gm)].length, 2);
				// The command sees no process outside: only bwrap's process 1, the shell, ls and grep.
				assert.ok(Number(words(stdout).at(-1)) <= 4, stdout);
			}),
	);

	test(
		`examples/bwrap-sandbox.ts as ${who}: the command cannot type into the terminal`,
		{ needs: required },
		() =>
			withTmpfs((folder) => {
				const attack = [attackProgram(), "type=0", "type=tty"];
				const run = (...command: string[]) =>
					runToEnd([attackProgram(), "pty", ...prefix(folder), ...command]);
				const { stdout } = run(...exampleCommand("bwrap-sandbox", ...attack));
				assertRefused(stdout, ["type=0", "type=tty"]);
				assert.match(stdout, /^typed 0$/m);
			}),
	);
}

/** The example's sandbox, run as root, with other options in place of its defences. */
async function inSandbox(
	before: readonly string[],
	options: readonly string[],
	...command: string[]
): Promise<Ended> {
	const script = `
		const ns = await userns.UserNamespace.create("0:2100000000:65536", { setgroups: "allow" });
		const child = ns.spawn("bwrap", ${JSON.stringify([...options, "--", ...command])}, { stdio: "inherit" });
		child.on("exit", (status) => { ns.close(); process.exitCode = status ?? 1; });`;
	const index = JSON.stringify(`file://${join(packageForAll(), "dist/src/library/userns.js")}`);
	const module = `const userns = await import(${index});${script}`;
	return runToEnd([...before, process.execPath, "--input-type=module", "-e", module]);
}

const VIEW = [
	"--ro-bind",
	"/",
	"/",
	"--tmpfs",
	"/run",
	"--tmpfs",
	"/tmp",
	"--proc",
	"/proc",
	"--dev",
	"/dev",
];
const APART = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent"];

test(
	"bwrap with root's capabilities inside: the command undoes the sandbox, as docs/clients.md warns",
	{
		needs: bwrap,
	},
	() =>
		withSecrets(asRoot, async (before, folder) => {
			const secret = `write=${folder}/secret`;
			const attacks = ["remount=/", "umount=/tmp", secret, "umount=/run"];
			const { stdout, stderr } = await inSandbox(before, [...VIEW, ...APART], attackProgram(), ...attacks);
			const expected = { "remount=/": "ok", "umount=/tmp": "ok", "umount=/run": "ok" };
			const found = results(stdout);
			for (const [attack, result] of Object.entries(expected))
				assert.equal(found.get(attack), result, stderr);
			// The file belongs to the host's root, so open(2) finds it and refuses to write.
			assert.equal(found.get(secret), "EACCES");
		}),
);

test(
	"bwrap with every capability but CAP_SYS_ADMIN inside: the command undoes nothing, as docs/clients.md says",
	{
		needs: bwrap,
	},
	() =>
		withSecrets(asRoot, async (before, folder) => {
			const attacks = inSandboxOf(folder);
			const options = [...VIEW, ...APART, "--cap-add", "ALL", "--cap-drop", "CAP_SYS_ADMIN"];
			const { status, stdout, stderr } = await inSandbox(before, options, attackProgram(), ...attacks);
			assert.equal(status, 0, stderr);
			assertRefused(stdout, attacks);
			const look = ["sh", "-c", "grep CapPrm /proc/self/status /proc/1/status"];
			const seen = await inSandbox(before, options, ...look);
			const all = (1n << BigInt(Number(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8")) + 1)) - 1n;
			const expected = (all & ~(1n << 21n)).toString(16).padStart(16, "0");
			assert.deepEqual(words(seen.stdout), [
				`/proc/self/status:CapPrm:\t${expected}`,
				"/proc/1/status:CapPrm:\t0000000000000000",
			]);
		}),
);

test(
	"without --tmpfs /run and --new-session, the command of bwrap reaches a socket and types into the terminal",
	{
		needs: bwrap,
	},
	() =>
		withSecrets(asRoot, async (before) => {
			const view = ["--ro-bind", "/", "/", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"];
			const drop = ["--cap-drop", "ALL"];
			const connect = "connect=/run/userns-test/socket";
			const socket = await inSandbox(before, [...view, ...APART, ...drop], attackProgram(), connect);
			assert.equal(results(socket.stdout).get(connect), "ok", socket.stderr);
			const legacy = spawnSync("cat", ["/proc/sys/dev/tty/legacy_tiocsti"], { encoding: "utf8" });
			if (legacy.stdout.trim() === "0") return; // this kernel refuses TIOCSTI to processes without CAP_SYS_ADMIN
			const typing = await inSandbox(
				[attackProgram(), "pty", ...before],
				[...view, ...APART, ...drop],
				...[attackProgram(), "type=0"],
			);
			assert.match(typing.stdout, /^typed 2$/m);
		}),
);
