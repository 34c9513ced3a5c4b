import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Mapping, mountIdmapped } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { exampleCommand } from "../support/examples.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { Container, makeRootfs, type Runtime } from "../support/oci.ts";
import { privateMounts, runToEnd, USER } from "../support/private-mounts.ts";
import { assertRefused, attackProgram, results } from "../support/sandbox-attacks.ts";
import { test } from "../support/test.ts";

/* Attacks from inside a container on its host: see inside-bwrap.test.ts. */
const needs = ["linux", "root", "mounts", "static"] as const;

/** Files in the machine's own /proc that only the host's root may write. */
const PROC = ["write=/proc/sys/kernel/printk", "write=/proc/sys/kernel/core_pattern"];

/** Attacks on a container whose root file system is at / and whose volume is at /data. */
const CONTAINER = [
	...[
		"remount=/",
		"umount=/data",
		"umount=/proc",
		"nested-umount=/data",
		"nested-umount=/proc",
		"chroot=/data",
	],
	...[
		"mknod=/device",
		"nested-mknod=/device",
		"setns=3",
		"type=0",
		"inherited=",
		"write=/proc/sysrq-trigger",
	],
	...[...PROC, "write=/data/device", "nested-write=/data/device"],
];

/** A root file system that contains the attacks, and a volume with a device file that any user may open. */
function makeWorld(folder: string): { rootfs: string; data: string } {
	const rootfs = makeRootfs(join(folder, "rootfs"));
	const [data = ""] = mkdirs(folder, "data");
	copyFileSync(attackProgram(), join(rootfs, "bin/sandbox-attacks"));
	chmodSync(join(rootfs, "bin/sandbox-attacks"), 0o755);
	sh("mknod", join(data, "device"), "c", "1", "3");
	for (const path of [data, join(data, "device")]) {
		chownSync(path, 1000, 1000);
		chmodSync(path, 0o777);
	}
	return { rootfs, data };
}

/**
 * Beside the program, in its mount namespace, an ordinary user looks for the bundle's mounts in a loop, and prints each
 * mount that it reaches.
 */
const BESIDE = `
look() { while :; do for file in "$1"/*/rootfs/bin/busybox "$1"/*/*/rootfs/bin/busybox; do
	[ ! -e "$file" ] || echo "reached $file"; done; done; }
setpriv --reuid ${USER.uid} --regid ${USER.uid} --clear-groups sh -c "$(cat <<'END'
look() { while :; do for file in "$1"/*/rootfs/bin/busybox "$1"/*/*/rootfs/bin/busybox; do
	[ ! -e "$file" ] || echo "reached $file"; done; sleep 0.01; done; }
look "$0"
END
)" "$0" >&2 &
"$@"
status=$?
kill $!
wait $! 2>&-
exit $status`;

for (const runtime of ["crun", "runc"] as Runtime[]) {
	const required = [...needs, "user", "busybox", `tool:${runtime}`] as const;
	const run = (folder: string, ...args: string[]) => {
		const [temporary = ""] = mkdirs(folder, "temporary");
		const before = [...privateMounts({ cgroup2: true }), "env", `TMPDIR=${temporary}`];
		return runToEnd([...before, "sh", "-c", BESIDE, temporary, ...args]);
	};

	test(
		`examples/oci-container.ts with ${runtime}: no attack reaches the host, and no other user reaches the bundle`,
		{ needs: required },
		() =>
			withTmpfs((folder) => {
				const { rootfs, data } = makeWorld(folder);
				const inside = ["/bin/sh", "-c", '"$@"; sleep 0.3', "sh", "/bin/sandbox-attacks", ...CONTAINER];
				const { status, stdout, stderr } = run(
					...[folder, ...exampleCommand("oci-container", runtime, rootfs, data, ...inside)],
				);
				assert.equal(status, 0, stderr);
				assertRefused(stdout, CONTAINER);
				assert.equal(results(stdout).get("write=/data/device"), "EACCES");
				assert.equal(stderr, "");
			}),
	);

	test(
		`examples/shared-namespace.ts with ${runtime}: a hostile shell does not reach the host`,
		{ needs: required },
		() =>
			withTmpfs((folder) => {
				const { rootfs } = makeWorld(folder);
				const attacks = CONTAINER.map((attack) => attack.replace("/data", "/shared")).filter(
					(attack) => !attack.includes("write=/shared"),
				);
				// The example runs /bin/sh. This one attacks first, and then does what it was asked for.
				sh("rm", join(rootfs, "bin/sh"));
				const shell = [
					"#!/bin/busybox sh",
					`found=$(/bin/sandbox-attacks ${attacks.join(" ")})`,
					'/bin/busybox printf "%s\\n" "$found"',
					'exec /bin/busybox sh "$@"',
				].join("\n");
				writeFileSync(join(rootfs, "bin/sh"), shell, { mode: 0o755 });
				const { status, stdout, stderr } = run(
					folder,
					...exampleCommand("shared-namespace", runtime, rootfs),
				);
				assert.equal(status, 0, stderr);
				assertRefused(stdout, attacks);
				assert.equal(stderr, "");
			}),
	);

	test(
		`examples/oci-container.ts with ${runtime}: the command cannot type into the terminal`,
		{ needs: required },
		() =>
			withTmpfs((folder) => {
				const { rootfs, data } = makeWorld(folder);
				const command = exampleCommand(
					"oci-container",
					runtime,
					rootfs,
					data,
					"/bin/sandbox-attacks",
					"type=0",
					"type=tty",
				);
				const { stdout } = runToEnd([
					attackProgram(),
					"pty",
					...privateMounts({ cgroup2: true }),
					...command,
				]);
				assertRefused(stdout, ["type=0", "type=tty"]);
				assert.match(stdout, /^typed 0$/m);
			}),
	);

	test(`${runtime} refuses a volume that is a detached mount by its descriptor`, { needs: required }, () =>
		withTmpfs(async (folder) => {
			const { data } = makeWorld(folder);
			const mount = await mountIdmapped({ source: data, mapping: "1000:2100000000:1" });
			const container = new Container(runtime, folder, {
				script: "ls /data",
				mappings: Mapping.from("0:2100000000:65536").toJSON(),
				volume: `/proc/${process.pid}/fd/${mount.fd}`,
			});
			try {
				const { status, stdout, stderr } = container.run();
				assert.notEqual(status, 0, stdout);
				assert.match(stderr, /invalid argument|permission denied/i);
			} finally {
				assert.deepEqual(await container.remove(), []);
				mount.close();
			}
		}),
	);

	test(
		`a set-user-ID program that a container of ${runtime} leaves on disk is root's, and a closed directory protects it`,
		{
			needs: required,
		},
		() =>
			withTmpfs((folder) => {
				const { rootfs, data } = makeWorld(folder);
				const leave = "cp /bin/sandbox-attacks /left; chmod 4755 /left";
				const { status, stderr } = run(
					folder,
					...exampleCommand("oci-container", runtime, rootfs, data, "/bin/sh", "-c", leave),
				);
				assert.equal(status, 0, stderr);
				const left = join(rootfs, "left");
				assert.equal(statSync(left).uid, 0);
				assert.equal(statSync(left).mode & 0o7777, 0o4755);
				const others = { uid: USER.uid, gid: USER.uid, encoding: "utf8" } as const;
				// The documents warn of this: a user who reaches the file runs it as root.
				writeFileSync(join(folder, "secret"), "", { mode: 0o600 });
				const attack = `write=${join(folder, "secret")}`;
				assert.equal(
					results(spawnSync(join(rootfs, "bin/sandbox-attacks"), [attack], others).stdout).get(attack),
					"EACCES",
				);
				assert.equal(results(spawnSync(left, [attack], others).stdout).get(attack), "ok");
				// The documents advise this.
				chmodSync(folder, 0o700);
				assert.equal((spawnSync(left, [attack], others).error as NodeJS.ErrnoException).code, "EACCES");
			}),
	);
}
