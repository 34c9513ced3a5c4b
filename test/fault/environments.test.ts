import assert from "node:assert/strict";
import { mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { ask, packageForAll, sh } from "../support/child.ts";
import { withTmpfs } from "../support/mounts.ts";
import { Container, makeRootfs } from "../support/oci.ts";
import { askAs, freshUser } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:unshare"] as const;

type Failure = { code: string; errnoCode?: string; step?: string; hint: string; message: string };

/** Each operation that needs /proc or reads it: create, open, read the mapping, spawn. */
const ALL = `const MAP = globalThis.map ?? "0:100000:10";
	const outcome = async (call) => { try { return await call(); } catch (e) { return e; } };
	const ended = (child) => new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
	const all = async () => {
		const found = { made: false };
		const ns = await outcome(() => userns.UserNamespace.create(MAP));
		if (!(ns instanceof userns.UserNamespace)) return { made: ns };
		found.made = true;
		found.sync = await outcome(() => { userns.UserNamespace.createSync(MAP).close(); return true; });
		found.byPath = await outcome(() => { userns.UserNamespace.open("/proc/self/fd/" + ns.fd).close(); return true; });
		found.byPid = await outcome(() => { userns.UserNamespace.open(process.pid).close(); return true; });
		const bare = await outcome(() => userns.UserNamespace.open("/proc/self/fd/" + ns.fd));
		found.read = bare instanceof userns.UserNamespace ? await outcome(async () => (await bare.mapping()).id) : "not opened";
		found.spawned = await outcome(() => ended(ns.spawn("sh", ["-c", ":"], { stdio: "ignore" })));
		ns.close();
		return found;
	};`;

const WHOLE = { made: true, sync: true, byPath: true, byPid: true, read: "0:100000:10", spawned: 0 };

/** Runs a script in its own mount namespace, which a command of root has changed first. */
function changed(before: string): { prefix: string[] } {
	return {
		prefix: ["unshare", "--mount", "--propagation", "private", "sh", "-c", `${before}; exec "$@"`, "sh"],
	};
}

test("every operation works with hidepid=2, and another user's process looks like a missing one", {
	needs: [...needs, "ordinary"],
}, () => {
	const hidepid = "mount -t proc -o hidepid=2 proc /proc";
	assert.deepEqual(ask(`${ALL} console.log(JSON.stringify(await all()));`, changed(hidepid)), WHOLE);

	const user = askAs<{ found: Record<string, unknown>; init: Failure }>(
		freshUser({ before: hidepid }),
		`globalThis.map = "0:200000:10"; ${ALL}
		const init = await outcome(() => userns.UserNamespace.open(1));
		console.log(JSON.stringify({ found: await all(), init }));`,
	);
	assert.equal(user.init.code, "ERR_USERNS_OPEN");
	assert.ok(user.init.hint && user.init.step, JSON.stringify(user.init));
	// hidepid=2 covers a join process, because it cannot be traced: only root reads the mapping of a bare descriptor
	// there.
	const { read, ...found } = user.found;
	assert.deepEqual({ ...found, read: WHOLE.read }, WHOLE);
	const { code, errnoCode, hint } = read as Failure;
	assert.deepEqual([code, errnoCode], ["ERR_USERNS_READ_MAPPING", "ENOENT"]);
	assert.match(hint, /hidepid/);
});

test("without /proc, root creates and reads namespaces by a private procfs; operations that need /proc itself fail", {
	needs,
}, () => {
	const found = ask<Record<string, unknown>>(
		`${ALL} import { spawnSync } from "node:child_process";
		spawnSync("umount", ["-R", "-l", "/proc"]);
		const found = await all();
		const mount = await outcome(async () => { const m = await userns.mountIdmapped({ source: "/tmp", mapping: MAP }); m.close(); return true; });
		console.log(JSON.stringify({ ...found, mount }));`,
		changed("true"),
	);
	assert.equal(found.made, true);
	assert.equal(found.sync, true);
	assert.equal(found.byPid, true);
	assert.equal(found.mount, true);
	const { code, errnoCode, hint } = found.byPath as Failure;
	assert.deepEqual([code, errnoCode], ["ERR_USERNS_OPEN", "ENOENT"]);
	assert.ok(hint);
});

test("without /proc, an ordinary user's creation fails and names what is missing", {
	needs: [...needs, "ordinary"],
}, () => {
	for (const before of ["umount -R -l /proc", "mount -t tmpfs lie /proc"]) {
		const errors = ask<Failure[]>(
			`const errors = [];
			for (const map of ["0:" + process.getuid() + ":1", "0:200000:10"])
				errors.push(await userns.UserNamespace.create(map).catch((e) => e));
			console.log(JSON.stringify(errors));`,
			freshUser({ before }).options,
		);
		assert.equal(errors.length, 2);
		for (const error of errors) {
			assert.deepEqual([error.code, error.errnoCode], ["ERR_USERNS_CREATE", "EXDEV"]);
			assert.match(error.hint, /Mount the procfs of this process's pid namespace at \/proc/);
		}
	}
});

test("with a read-only /proc, a creation fails and says so", { needs }, () => {
	const { made, before } = ask<{ made: Failure; before: boolean }>(
		`${ALL} import { spawnSync } from "node:child_process";
		const before = (await all()).made;
		spawnSync("mount", ["-o", "remount,bind,ro", "/proc"]);
		console.log(JSON.stringify({ before, ...(await all()) }));`,
		changed("true"),
	);
	assert.equal(before, true);
	assert.deepEqual([made.code, made.errnoCode], ["ERR_USERNS_CREATE", "EROFS"]);
	assert.match(made.hint, /mounted read-only/);
});

test("every operation works in a new pid namespace, and creations work there with the outer /proc too", {
	needs,
}, () => {
	const script = `${ALL} console.log(JSON.stringify({ pid: process.pid, ...(await all()) }));`;
	const own = ask(script, { prefix: ["unshare", "--pid", "--fork", "--mount-proc"] });
	assert.deepEqual(own, { pid: 1, ...WHOLE });
	// The /proc of the outer pid namespace: its "self" does not exist for this process, and its pids are others.
	const foreign = ask<Record<string, unknown>>(script, { prefix: ["unshare", "--pid", "--fork"] });
	assert.deepEqual(
		{ made: foreign.made, sync: foreign.sync, byPid: foreign.byPid },
		{
			made: true,
			sync: true,
			byPid: true,
		},
	);
});

test("with RLIMIT_NOFILE 12 each operation fails and names the limit, and works again with a higher limit", {
	needs: [...needs, "tool:prlimit"],
}, () => {
	const { errors, later } = ask<{ errors: Failure[]; later: object }>(
		`${ALL} import { spawn, spawnSync } from "node:child_process";
		await all();
		const ns = userns.UserNamespace.createSync(MAP);
		const limit = (most) => spawnSync("prlimit", ["--pid", String(process.pid), "--nofile=" + most + ":4096"]);
		limit(4096);
		const calls = [
			() => userns.UserNamespace.create(MAP),
			() => userns.UserNamespace.createSync(MAP),
			() => userns.UserNamespace.open(process.pid),
			() => userns.UserNamespace.open("/proc/self/ns/user"),
			() => ns.dup(),
			() => userns.mountIdmapped({ source: "/tmp", userns: ns }),
			() => userns.pin(ns, "/mnt/none"),
		];
		const command = "sleep 0.5; prlimit --pid " + process.pid + " --nofile=4096:4096";
		const raised = ended(spawn("sh", ["-c", command], { stdio: "ignore" }));
		spawnSync("prlimit", ["--pid", String(process.pid), "--nofile=12:4096"]);
		const errors = [];
		for (const call of calls) errors.push(await outcome(call));
		await raised;
		console.log(JSON.stringify({ errors, later: await all() }));`,
		changed("true"),
	);
	assert.equal(errors.length, 7);
	for (const { code, errnoCode, hint, step } of errors) {
		assert.match(code, /^ERR_USERNS_(CREATE|OPEN|DESCRIPTOR|MOUNT|PIN)$/);
		assert.equal(errnoCode, "EMFILE");
		assert.match(hint, /RLIMIT_NOFILE/);
		assert.ok(step);
	}
	assert.deepEqual(later, WHOLE);
});

test("the caller's own ID can be mapped under no_new_privs", {
	needs: [...needs, "ordinary", "tool:setpriv"],
}, () => {
	const read = askAs<string>(
		freshUser({ through: ["setpriv", "--no-new-privs"] }),
		`const ns = await userns.UserNamespace.create("0:" + process.getuid() + ":1");
		const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		console.log(JSON.stringify((await bare.mapping()).id.replace(process.getuid(), "OWN")));`,
	);
	assert.equal(read, "0:OWN:1");
});

/** create_user_ns() in kernel/user_namespace.c: a namespace at level 33 cannot have a child. */
for (const [level, deepest] of [
	[1, false],
	[31, false],
	[32, false],
	[33, true],
] as const) {
	const what = deepest ? "is an error that names the depth" : "is made and read back";
	test(`a namespace inside ${level} others ${what}`, { needs }, () => {
		const around = Array(level).fill(["unshare", "--user", "--map-root-user"]).flat();
		const { code, errnoCode, hint, read } = ask<Failure & { read?: string }>(
			`const ns = await userns.UserNamespace.create("0:0:1").catch((e) => e);
			const read = async () => (await userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mapping()).id;
			console.log(JSON.stringify(ns instanceof Error ? ns : { read: await read() }));`,
			{ prefix: around },
		);
		if (!deepest) assert.equal(read, "0:0:1");
		else {
			assert.deepEqual([code, errnoCode], ["ERR_USERNS_LIMIT", "ENOSPC"]);
			assert.match(hint, /the depth of 32/);
		}
	});
}

/** Root without one capability. */
function without(capability: string): { prefix: string[] } {
	return {
		prefix: ["unshare", "--mount", "--propagation", "private", "setpriv", `--bounding-set=-${capability}`],
	};
}

/** What each capability is needed for, by user_namespaces(7) and mount_setattr(2). */
const capabilities: [capability: string, refused: Record<string, string>][] = [
	["setfcap", { root: "ERR_USERNS_CREATE EPERM the process's uid_map" }],
	["setuid", { range: "ERR_USERNS_CREATE EPERM the process's uid_map" }],
	["setgid", { range: "ERR_USERNS_CREATE EPERM the process's gid_map" }],
	["sys_admin", { mount: "ERR_USERNS_MOUNT EPERM", pin: "ERR_USERNS_PIN EPERM" }],
	["sys_ptrace", {}],
];

for (const [capability, refused] of capabilities) {
	test(`root without CAP_${capability.toUpperCase()}: the operations that need it fail, and the others work`, {
		needs: [...needs, "tool:setpriv"],
	}, () => {
		const found = ask<Record<string, string>>(
			`import fs from "node:fs";
			const hints = [];
			const outcome = async (call) => {
				try { await call(); return "done"; }
				catch (e) { hints.push(e.hint ?? ""); return e.code + " " + e.errnoCode + (/_map$/.test(e.step) ? " " + e.step : ""); }
			};
			const direct = { method: "direct" };
			const make = async (map) => (await userns.UserNamespace.create(map, direct)).close();
			const ns = await userns.UserNamespace.create("0:100000:10", direct).catch(() => userns.UserNamespace.create("0:0:1", direct));
			const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
			const file = "/tmp/userns-pin-" + process.pid;
			const found = {
				range: await outcome(() => make("0:100000:10")),
				root: await outcome(() => make("0:0:1")),
				read: await outcome(() => bare.mapping()),
				mount: await outcome(async () => (await userns.mountIdmapped({ source: "/tmp", userns: ns })).close()),
				pin: await outcome(() => { userns.pin(ns, file); userns.unmount(file); }),
			};
			fs.rmSync(file, { force: true });
			if (hints.some((hint) => !/CAP_/.test(hint))) found.hints = hints.join("; ");
			console.log(JSON.stringify(found));`,
			without(capability),
		);
		const all = { range: "done", root: "done", read: "done", mount: "done", pin: "done" };
		assert.deepEqual(found, { ...all, ...refused });
	});
}

test(
	"in a container of crun, namespaces are created and read back, and a mount is refused",
	{
		needs: [...needs, "tool:crun", "busybox"],
	},
	() =>
		withTmpfs(async (folder) => {
			const rootfs = makeRootfs(join(folder, "rootfs"));
			for (const [name, source] of [
				["usr", "/usr"],
				["node", dirname(process.execPath)],
			] as const) {
				mkdirSync(join(rootfs, name));
				sh("mount", "--bind", source, join(rootfs, name));
			}
			symlinkSync("usr/lib", join(rootfs, "lib"));
			symlinkSync("usr/lib64", join(rootfs, "lib64"));
			const code = `const userns = await import("/data/dist/src/library/userns.js"); globalThis.map = "0:1000:10"; ${ALL}
			const mount = await outcome(async () => (await userns.mountIdmapped({ source: "/data", mapping: MAP })).close());
			console.log(JSON.stringify({ ...(await all()), mount }));`;
			const container = new Container("crun", folder, {
				script: `/node/node --input-type=module -e '${code.replaceAll("'", "'\\''")}'`,
				mappings: {
					uidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
					gidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
				},
				volume: packageForAll(),
			});
			try {
				const { status, stdout, stderr } = container.run();
				assert.equal(status, 0, stderr);
				const { mount, ...found } = JSON.parse(stdout);
				assert.deepEqual(found, { ...WHOLE, read: "0:1000:10" });
				assert.deepEqual([mount.code, mount.errnoCode], ["ERR_USERNS_MOUNT", "EPERM"]);
			} finally {
				assert.deepEqual(await container.remove(), []);
			}
		}),
);
