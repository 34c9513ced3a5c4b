import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { type NamespaceKind, type NamespaceSpawnOptions, UserNamespace } from "../../src/index.ts";
import { native } from "../../src/native/addon.ts";
import { hosted } from "../support/ids.ts";
import {
	becomes,
	childCalled,
	descriptorsOf,
	ended,
	gone,
	KINDS,
	NAMESPACE_FILES,
	namespaceOf,
	status,
} from "../support/programs.ts";
import { test } from "../support/test.ts";

const isRoot = process.geteuid?.() === 0;
const needs = ["linux", "ids", "tool:mount", "tool:hostname"] as const;

type Joined = readonly NamespaceKind[] | "all";

/** The process of a program that sleeps: the child itself, or the child of the process that stands for the program outside. */
async function programOf(child: ChildProcess, kinds: Joined): Promise<number> {
	const pid = child.pid as number;
	if (kinds === "all" || kinds.includes("pid")) return childCalled(pid, "sleep");
	await becomes(pid, "sleep");
	return pid;
}

interface Container {
	ns: UserNamespace;
	/** Process 2 of its pid namespace, in the caller's pid namespace; and the process that stands for it outside. */
	pid: number;
	outside: number;
	start: (command: string, args: readonly string[], options: NamespaceSpawnOptions) => ChildProcess;
	run: (script: string, options?: NamespaceSpawnOptions) => ReturnType<typeof ended>;
}

/** A container with its own namespace of every kind, a procfs, a host name, and a program and a directory that only it has. */
async function withContainer(body: (container: Container) => Promise<void>): Promise<void> {
	const ns = await UserNamespace.create(hosted("0:100000:65536"), { setgroups: "allow" });
	const script = `mount -t proc proc /proc && hostname inside && mount -t tmpfs inside /mnt && mkdir -p /mnt/bin /mnt/closed &&
		printf '#!/bin/sh\\necho only-inside "$@"\\n' > /mnt/bin/only-inside && chmod 755 /mnt /mnt/bin /mnt/bin/only-inside &&
		chmod 700 /mnt/closed && echo ready && exec sleep 1000`;
	const outside = ns.spawn("sh", ["-c", script], { unshare: KINDS, stdio: ["ignore", "pipe", "inherit"] });
	const started = [outside];
	const start: Container["start"] = (command, args, options) => {
		const child = ns.spawn(command, args, options);
		started.push(child);
		return child;
	};
	try {
		await once(outside.stdout as NonNullable<typeof outside.stdout>, "data");
		const pid = await childCalled(outside.pid as number, "sleep");
		const run: Container["run"] = (line, options = {}) =>
			ended(start("sh", ["-c", line], { join: { pid, kinds: "all" }, ...options }));
		await body({ ns, pid, outside: outside.pid as number, start, run });
	} finally {
		for (const child of started) child.kill("SIGKILL");
		ns.close();
	}
}

/** The descriptors of this process that are namespaces or pidfds. The pipes of children that have ended are closed later. */
function heldNamespaces(): string[] {
	const links = readdirSync("/proc/self/fd").map((fd) => {
		try {
			return readlinkSync(`/proc/self/fd/${fd}`);
		} catch {
			return ""; // that of readdirSync()
		}
	});
	return links.filter((link) => /pidfd|^(user|mnt|pid|net|ipc|uts|cgroup|time):/.test(link)).sort();
}

for (const kinds of [...KINDS.map((kind) => [kind]), ["mount", "pid"], KINDS, "all"] as (
	| NamespaceKind[]
	| "all"
)[]) {
	test(
		`join ${kinds} joins these kinds and the user namespace, and the others are the caller's`,
		{ needs },
		() =>
			withContainer(async ({ ns, pid, start }) => {
				const child = start("sleep", ["1000"], { stdio: "ignore", join: { pid, kinds } });
				const end = once(child, "close");
				const program = await programOf(child, kinds);
				assert.equal(namespaceOf(program, "user"), `user:[${ns.inode}]`);
				for (const kind of KINDS) {
					const home = kinds === "all" || kinds.includes(kind) ? pid : "self";
					assert.equal(
						namespaceOf(program, NAMESPACE_FILES[kind]),
						namespaceOf(home, NAMESPACE_FILES[kind]),
						kind,
					);
				}
				child.kill("SIGKILL");
				await end;
				await gone(program);
			}),
	);
}

test(
	"with mount, the root and the working directory are the container's, and no descriptor is inherited",
	{
		needs: [...needs, "root"],
	},
	() =>
		withContainer(async ({ pid, start }) => {
			const host = ["/", "."].map((path) => statSync(path, { bigint: true }));
			for (const kinds of [["mount"], ["mount", "pid"], "all"] as const) {
				const child = start("sleep", ["1000"], { stdio: "ignore", join: { pid, kinds } });
				const program = await programOf(child, kinds);
				for (const each of new Set([child.pid as number, program])) {
					const names = Object.keys(descriptorsOf(each));
					assert.ok(
						names.every((fd) => Number(fd) <= 2),
						`${kinds}: ${names}`,
					);
					for (const link of ["root", "cwd"]) {
						const seen = statSync(`/proc/${each}/${link}`, { bigint: true });
						const inside = statSync(`/proc/${pid}/root`, { bigint: true });
						assert.deepEqual([seen.dev, seen.ino], [inside.dev, inside.ino], `${kinds} ${link}`);
					}
				}
				// A directory of the host on the same file system has the same numbers, so the mounts are compared too.
				assert.equal(namespaceOf(child.pid as number, "mnt"), namespaceOf(pid, "mnt"));
				assert.ok(existsSync(`/proc/${program}/root/mnt/bin/only-inside`));
				child.kill("SIGKILL");
				await once(child, "close");
			}
			assert.deepEqual(
				["/", "."].map((path) => statSync(path, { bigint: true }).ino),
				host.map(({ ino }) => ino),
			);
		}),
);

test(
	"with pid and mount, the program sees the container's processes alone, and has the next pid there",
	{ needs },
	() =>
		withContainer(async ({ pid, run }) => {
			const script = "for p in /proc/[0-9]*; do read name < $p/comm && echo $name; done; hostname; id -u";
			for (const kinds of [["mount", "pid", "uts"], "all"] as const) {
				const { stdout, stderr } = await run(script, { join: { pid, kinds } });
				assert.deepEqual((stdout + stderr).trim().split("\n").sort(), [
					"0",
					"inside",
					"sh",
					"sleep",
					"userns-init",
				]);
			}
		}),
);

test("nsenter(1) sees the same", { needs: [...needs, "root", "tool:nsenter"] }, () =>
	withContainer(async ({ pid, run }) => {
		const script =
			"hostname; pwd; id; cat /proc/self/uid_map; readlink /proc/1/exe; cd /proc/self/ns; readlink *; cat /mnt/bin/*";
		const ours = await run(script);
		const theirs = spawnSync(
			"nsenter",
			["--target", String(pid), "--all", "--setuid", "0", "--setgid", "0", "sh", "-c", script],
			{
				encoding: "utf8",
			},
		);
		assert.ok(ours.stdout.startsWith("inside\n/\n"), ours.stdout + ours.stderr);
		assert.equal(ours.stdout.replace(/groups=.*/, ""), theirs.stdout.replace(/groups=.*/, ""));
	}),
);

test("the program, its PATH and cwd are those of the joined mount namespace", { needs }, () =>
	withContainer(async ({ pid, start }) => {
		const env = { PATH: "/no/such:/mnt/closed:/mnt/bin" };
		for (const kinds of [["mount"], ["mount", "pid"], "all"] as const) {
			const options = { env, join: { pid, kinds } };
			for (const ids of [{}, { uid: 1000, gid: 1000 }]) {
				const found = await ended(start("only-inside", ["a", "b"], { ...options, ...ids }));
				assert.deepEqual([found.stdout, found.status], ["only-inside a b\n", 0], found.stderr);
			}
			const relative = await ended(start("bin/only-inside", [], { ...options, cwd: "/mnt" }));
			assert.equal(relative.stdout, "only-inside\n", relative.error?.message);
			const missing = await ended(start("sleep", ["1"], options));
			assert.deepEqual([missing.status, missing.error?.code], [127, "ERR_USERNS_NO_PROGRAM"]);
			assert.match(missing.error?.hint ?? "", /^Name a program of the joined mount namespace/);
			const denied = await ended(start("/mnt/closed", [], options));
			assert.deepEqual([denied.status, denied.error?.errnoCode], [126, "EACCES"]);
			for (const [cwd, errno, ids] of [
				["/no/such", "ENOENT", {}],
				["/mnt/bin/only-inside", "ENOTDIR", {}],
				["/mnt/closed", "EACCES", { uid: 1000, gid: 1000 }],
			] as const) {
				const refused = await ended(start("only-inside", [], { ...options, ...ids, cwd }));
				assert.deepEqual(
					[refused.status, refused.error?.code, refused.error?.errnoCode, refused.error?.step],
					[125, "ERR_USERNS_SPAWN", errno, "entering the working directory"],
				);
			}
		}
		// Without mount, the caller's own.
		assert.throws(() => start("only-inside", [], { env, join: { pid, kinds: ["uts"] } }), {
			code: "ERR_USERNS_NO_PROGRAM",
		});
	}),
);

test("the exit status, the end by a signal, and a signal from outside are as without join", { needs }, () =>
	withContainer(async ({ pid, run, start }) => {
		for (const kinds of [["mount"], ["pid"], "all"] as const) {
			const join = { pid, kinds };
			for (const code of [0, 1, 7, 255]) assert.equal((await run(`exit ${code}`, { join })).status, code);
			for (const signal of ["SIGTERM", "SIGKILL", "SIGABRT"] as const) {
				assert.equal((await run(`kill -${signal.slice(3)} $$`, { join })).signal, signal);
			}
			const script = 'trap "echo usr1; exit 3" USR1; echo ready; while :; do sleep 0.02; done';
			const child = start("sh", ["-c", script], { join });
			const end = ended(child);
			await once(child.stdout as NonNullable<typeof child.stdout>, "data");
			child.kill("SIGUSR1");
			const { status: code, stdout } = await end;
			assert.deepEqual([code, stdout], [3, "ready\nusr1\n"]);
		}
	}),
);

test(
	"a process that joined a pid namespace ends when the container does, and leaves its processes alone",
	{ needs },
	() =>
		withContainer(async ({ pid, outside, start, run }) => {
			const child = start("sleep", ["1000"], { stdio: "ignore", join: { pid, kinds: ["pid"] } });
			const end = once(child, "close");
			await childCalled(child.pid as number, "sleep");
			assert.equal((await run("exit 4")).status, 4);
			assert.ok(existsSync(`/proc/${pid}`), "the end of a program that joined ends nothing else");
			process.kill(outside, "SIGTERM");
			assert.deepEqual(await end, [null, "SIGKILL"]);
			await gone(pid);
		}),
);

test("a program can join some namespaces and create others", { needs }, () =>
	withContainer(async ({ ns, pid, start }) => {
		const child = start("sleep", ["1000"], {
			stdio: "ignore",
			join: { pid, kinds: "all" },
			unshare: ["uts"],
		});
		const program = await childCalled(child.pid as number, "sleep");
		assert.equal(namespaceOf(program, "mnt"), namespaceOf(pid, "mnt"));
		assert.ok(![namespaceOf(pid, "uts"), namespaceOf("self", "uts")].includes(namespaceOf(program, "uts")));
		assert.equal(namespaceOf(program, "user"), `user:[${ns.inode}]`);
		child.kill("SIGKILL");
		await once(child, "close");
	}),
);

test("each error says what is wrong, and no process is started", { needs }, () =>
	withContainer(async ({ ns, pid, outside, start }) => {
		const before = heldNamespaces();
		const other = UserNamespace.createSync(hosted("0:100000:65536"));
		const stranger = other.spawn("sleep", ["1000"], { stdio: "ignore" });
		await becomes(stranger.pid as number, "sleep");
		const short = spawn("true");
		await once(short, "close");
		const spawnError = "ERR_USERNS_SPAWN";
		const wrong = "ERR_USERNS_INVALID_ARGUMENT";
		const cases: [join: unknown, code: string, message: RegExp, hint: RegExp, more?: object][] = [
			[
				{ pid: stranger.pid, kinds: ["mount"] },
				spawnError,
				/cannot join the namespaces of process \d+: it is in another user namespace/,
				/by the same pid/,
			],
			[{ pid: process.pid, kinds: "all" }, spawnError, /it is in another user namespace/, /by the same pid/],
			[{ pid: short.pid, kinds: "all" }, spawnError, /ESRCH/, /has ended/],
			[
				{ pid: outside, kinds: ["pid"] },
				spawnError,
				// It is a process of this package, which an ordinary user cannot trace.
				isRoot ? /its pid namespace is that of this process/ : /EACCES/,
				isRoot ? /children are inside/ : /./,
			],
			[{ pid: 0, kinds: "all" }, wrong, /the pid of join must be a whole number/, /./],
			[{ kinds: "all" }, wrong, /not undefined/, /./],
			[{ pid }, wrong, /join must be an array of kinds, not undefined/, /./],
			[
				{ pid, kinds: ["user"] },
				wrong,
				/unknown kind of namespace "user" in join/,
				/^The kinds are: mount, pid,/,
			],
			[{ pid, kinds: ["uts"], more: 1 }, wrong, /join: unknown option "more"/, /./],
			[undefined, wrong, /join is present but undefined/, /Leave join out/],
			[
				{ pid, kinds: ["uts"] },
				wrong,
				/join and unshare both name the kind uts/,
				/Leave the kind out/,
				{ unshare: ["uts"] },
			],
		];
		try {
			for (const [join, code, message, hint, more] of cases) {
				assert.throws(
					() => start("true", [], { join, ...more } as NamespaceSpawnOptions),
					(error: Error & { code: string; hint: string }) => {
						assert.equal(error.code, code, error.message);
						assert.match(error.message, message);
						assert.match(error.hint, hint);
						return true;
					},
				);
			}
			const uts = ns.spawn("sleep", ["1000"], { stdio: "ignore" });
			await becomes(uts.pid as number, "sleep");
			assert.throws(() => start("true", [], { join: { pid: uts.pid as number, kinds: ["uts"] } }), {
				message: /its uts namespace is that of this process/,
				hint: "Leave uts out of the kinds.",
			});
			assert.equal(
				(await ended(start("true", [], { join: { pid: uts.pid as number, kinds: "all" } }))).status,
				0,
			);
			uts.kill("SIGKILL");
			await once(uts, "close");
		} finally {
			stranger.kill("SIGKILL");
			await once(stranger, "close");
			other.close();
		}
		assert.deepEqual(heldNamespaces(), before, "every descriptor is closed");
	}),
);

test(
	"a process that has moved to another user namespace meanwhile is noticed, after the namespaces were joined",
	{ needs },
	() =>
		withContainer(async ({ pid }) => {
			// userns-enter with the process of one user namespace and the descriptor of another one.
			const other = UserNamespace.createSync(hosted("0:100000:65536"));
			const process = native().openProcess(pid);
			const program = native().openProgram(5);
			const args = [
				"3",
				"3",
				"-",
				"4",
				String(0x00020000),
				"0",
				"0",
				"0",
				"0",
				"0",
				"-",
				"/",
				"moved 116\x1f\x1fmoved",
				"1",
				"/bin/true",
				"true",
			];
			const child = spawn(`/proc/self/fd/${program.fd}`, args, {
				stdio: ["ignore", "pipe", "pipe", other.fd, process.fd],
			});
			for (const { fd } of [process, program]) native().close(fd);
			const { status: code, stderr } = await ended(child);
			assert.deepEqual([code, stderr], [125, "moved"]);
			other.close();
		}),
);

test(
	"no_new_privs is set in a joined namespace too, and groups are dropped",
	{ needs: [...needs, "root"] },
	() =>
		withContainer(async ({ run, ns }) => {
			for (const options of [{}, { join: undefined }] as const) {
				const read = "grep -E '^(NoNewPrivs|Groups):' /proc/self/status | tr -s ' \\t\\n' ' '";
				const given = "join" in options ? undefined : {};
				const start = (more: NamespaceSpawnOptions) =>
					given === undefined ? ended(ns.spawn("sh", ["-c", read], more)) : run(read, more);
				assert.equal((await start({ noNewPrivs: true })).stdout.trim(), "Groups: NoNewPrivs: 1");
				assert.equal((await start({})).stdout.trim(), "Groups: NoNewPrivs: 0");
			}
			assert.equal(readlinkSync("/proc/self/ns/user").startsWith("user:"), true);
			assert.equal(status(process.pid, "NoNewPrivs"), "0");
		}),
);
