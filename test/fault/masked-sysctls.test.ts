import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ask, packageForAll } from "../support/child.ts";
import { EXECUTING, withLame } from "../support/copies.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

/*
 * /proc/sys can be masked by ProcSubset=pid of systemd.exec(5), which is subset=pid of proc(5), or by a mount over it.
 * The values of fs.suid_dumpable and of Yama are then unknown. Unknown does not count as off.
 */

const needs = ["linux", "root", "mounts", "tool:unshare", "tool:setpriv"] as const;
const EXDEV = -18;

function masked(by: string, ...command: string[]): string[] {
	return [
		"unshare",
		"--mount",
		"--propagation",
		"private",
		"sh",
		"-c",
		`${by} && exec "$@"`,
		"sh",
		...command,
	];
}

const SUBSET = "mount -t proc -o subset=pid proc /proc";
const COVERED = "mount -t tmpfs cover /proc/sys";
const UNPRIVILEGED = ["setpriv", "--bounding-set=-sys_admin"];

interface Joined {
	setting: number;
	mapping: string;
	spawned: string;
	hints: string[];
}

/** Reads a mapping, for which a process must join, and runs a program in the namespace. */
function joins(prefix: string[]): Joined {
	const addon = join(packageForAll(), `prebuilds/userns.linux-${process.arch}.node`);
	return ask(
		`import { createRequire } from "node:module";
		import { once } from "node:events";
		const ns = await userns.UserNamespace.create("0:100000:10");
		const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		const hints = [];
		const mapping = await bare.mapping().then((read) => read.id, (error) => { hints.push(error.hint); return error.code; });
		let spawned;
		try { spawned = "ended with " + (await once(ns.spawn("true", { stdio: "ignore" }), "close"))[0]; }
		catch (error) { hints.push(error.hint); spawned = error.code; }
		bare.close();
		ns.close();
		const setting = createRequire("/")(${JSON.stringify(addon)}).suidDumpable();
		console.log(JSON.stringify({ setting, mapping, spawned, hints }));`,
		{ prefix },
	);
}

for (const by of [SUBSET, COVERED, "mount -t tmpfs cover /proc/sys/fs"]) {
	test(`fs.suid_dumpable masked by "${by}": no process joins without CAP_SYS_ADMIN`, {
		needs,
	}, () => {
		const { setting, mapping, spawned, hints } = joins(masked(by, ...UNPRIVILEGED));
		assert.deepEqual([setting, mapping, spawned], [EXDEV, "ERR_USERNS_READ_MAPPING", "ERR_USERNS_SPAWN"]);
		assert.equal(hints.length, 2);
		for (const hint of hints)
			assert.match(hint, /^Make \/proc\/sys visible to this process: .*ProcSubset=all/);
	});

	test(`fs.suid_dumpable masked by "${by}": with CAP_SYS_ADMIN a private procfs gives its value`, {
		needs,
	}, () => {
		const real = Number(readFileSync("/proc/sys/fs/suid_dumpable", "utf8"));
		const { setting, mapping, spawned } = joins(masked(by));
		assert.equal(setting, real);
		const may = real !== 1;
		assert.equal(mapping, may ? "0:100000:10" : "ERR_USERNS_READ_MAPPING");
		assert.equal(spawned, may ? "ended with 0" : "ERR_USERNS_SPAWN");
	});
}

for (const [what, by] of [
	["an empty file", "mount --bind /dev/null /proc/sys/fs/suid_dumpable"],
	[
		"a file that says 0",
		"mount -t tmpfs x /mnt && echo 0 > /mnt/zero && mount --bind /mnt/zero /proc/sys/fs/suid_dumpable",
	],
] as const) {
	test(`${what} of another file system over fs.suid_dumpable does not count as its value`, {
		needs,
	}, () => {
		const { setting, mapping, spawned } = joins(masked(by));
		assert.deepEqual([setting, mapping, spawned], [EXDEV, "ERR_USERNS_READ_MAPPING", "ERR_USERNS_SPAWN"]);
	});
}

test("fs.suid_dumpable is read from a read-only /proc/sys, as containers have it", { needs }, () => {
	const by = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys";
	const { setting, mapping } = joins(masked(by, ...UNPRIVILEGED));
	assert.equal(setting, Number(readFileSync("/proc/sys/fs/suid_dumpable", "utf8")));
	assert.equal(mapping, setting === 1 ? "ERR_USERNS_READ_MAPPING" : "0:100000:10");
});

/** If Yama may keep processes of one uid from each other, the creation process must not share the caller's memory. */
function create(url: string, prefix: string[]): string {
	const user = ["setpriv", `--reuid=${OTHER_UID}`, `--regid=${OTHER_UID}`, "--clear-groups"];
	return ask(
		`const lame = await import(${JSON.stringify(url)});
		const made = lame.UserNamespace.create("0:${OTHER_UID}:1").then((ns) => { ns.close(); return "made"; });
		console.log(JSON.stringify(await made.catch((error) => error.step)));`,
		{ prefix: [...prefix, ...user] },
	);
}

test(
	"if Yama's ptrace_scope cannot be read, a creation does not share an ordinary user's memory",
	{ needs },
	() =>
		withLame((url) => {
			const YAMA = "/proc/sys/kernel/yama/ptrace_scope";
			const on = existsSync(YAMA) && readFileSync(YAMA, "utf8").trim() !== "0";
			assert.equal(create(url, masked("true")), on ? EXECUTING : "made", "by what the kernel says");
			for (const by of [SUBSET, COVERED, "mount -t tmpfs cover /proc/sys/kernel"]) {
				assert.equal(create(url, masked(by)), EXECUTING, by);
			}
		}),
);
