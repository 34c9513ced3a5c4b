import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type NamespaceKind, type NamespaceSpawnOptions, UserNamespace } from "../../src/index.ts";
import { ask } from "../support/child.ts";
import { host, hosted } from "../support/ids.ts";
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
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "ids"] as const;
const mounting = [...needs, "tool:mount"] as const;

type Start = (command: string, args: readonly string[], options?: NamespaceSpawnOptions) => ChildProcess;

/**
 * A namespace for one test. The test ends the processes that `start` started, so that a failure cannot wait for ever.
 */
async function within(body: (ns: UserNamespace, start: Start) => Promise<void>): Promise<void> {
	const ns = await UserNamespace.create(hosted("0:100000:65536"), { setgroups: "allow" });
	const started: ChildProcess[] = [];
	const start: Start = (command, args, options) => {
		const child = ns.spawn(command, args, options);
		started.push(child);
		return child;
	};
	try {
		await body(ns, start);
	} finally {
		for (const child of started) child.kill("SIGKILL");
		ns.close();
	}
}

/** The process of the program: the child itself, or the child of the process that stands for the program outside. */
async function programOf(child: ChildProcess, kinds: readonly NamespaceKind[]): Promise<number> {
	const pid = child.pid as number;
	if (kinds.includes("pid") || kinds.includes("time")) return childCalled(pid, "sleep");
	await becomes(pid, "sleep");
	return pid;
}

for (const kinds of [...KINDS.map((kind) => [kind]), [], KINDS] as NamespaceKind[][]) {
	test(`unshare [${kinds.join(", ")}] creates these kinds, and the others are the caller's`, { needs }, () =>
		within(async (ns, start) => {
			const child = start("sleep", ["1000"], { stdio: "ignore", unshare: kinds });
			const end = once(child, "close");
			const pid = await programOf(child, kinds);
			assert.equal(namespaceOf(pid, "user"), `user:[${ns.inode}]`);
			for (const kind of KINDS) {
				const same = namespaceOf(pid, NAMESPACE_FILES[kind]) === namespaceOf("self", NAMESPACE_FILES[kind]);
				assert.equal(same, !kinds.includes(kind), kind);
			}
			assert.equal(status(pid, "Uid"), Array(4).fill(host(100000)).join(" "));
			// Only the owner of the process, a subordinate ID, and root can list its /proc/PID/fd.
			if (process.geteuid?.() === 0) assert.deepEqual(Object.keys(descriptorsOf(pid)), ["0", "1", "2"]);
			child.kill("SIGKILL");
			await end;
			await gone(pid);
		}),
	);
}

test(
	"a mount in the new mount namespace is not visible outside",
	{ needs: ["linux", "root", "mounts", "path:/mnt"] },
	() =>
		within(async (ns) => {
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			const { stdout, status: code } = await ended(
				ns.spawn("sh", ["-c", "mount -t tmpfs inside /mnt && grep -c inside /proc/self/mountinfo"], {
					unshare: ["mount"],
				}),
			);
			assert.deepEqual([code, stdout], [0, "1\n"]);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
		}),
);

test(
	"a program in a pid namespace sees only its own processes, and process 1 reaps orphans",
	{ needs: mounting },
	() =>
		within(async (_, start) => {
			// The orphan's parent ends at once, so process 1 adopts the orphan, which must not stay a zombie.
			const script = `mount -t proc proc /proc
			(sh -c 'sleep 0.05 > /dev/null & echo $!')
			sleep 0.3
			for p in /proc/[0-9]*; do sed -n 's/^Name:.//p' $p/status; done`;
			const { stdout, stderr } = await ended(start("sh", ["-c", script], { unshare: ["pid", "mount"] }));
			assert.equal(stderr, "");
			const [orphan, ...names] = stdout.trim().split("\n");
			assert.match(orphan ?? "", /^\d+$/);
			assert.deepEqual(names, ["userns-init", "sh"]);
		}),
);

test("everything in a pid namespace ends with its program, and the program's pipes close", { needs }, () =>
	within(async (_, start) => {
		const child = start("sh", ["-c", "sleep 1000 > /dev/null 2>&1 & read line; exit 5"], {
			unshare: ["pid"],
		});
		const sh = await childCalled(child.pid as number, "sh");
		const orphan = await childCalled(sh, "sleep");
		child.stdin?.end("now\n");
		const { status: code } = await ended(child);
		assert.equal(code, 5);
		await gone(orphan);
	}),
);

for (const how of ["SIGKILL", "SIGTERM"] as const) {
	test(`when the caller sends ${how}, no process of the pid namespace is left`, { needs }, () =>
		within(async (_, start) => {
			const child = start("sh", ["-c", "sleep 1000 & wait"], { unshare: ["pid"] });
			const end = ended(child);
			const sh = await childCalled(child.pid as number, "sh");
			const orphan = await childCalled(sh, "sleep");
			const init = await childCalled(child.pid as number, "userns-init");
			child.kill(how);
			assert.equal((await end).signal, how);
			for (const pid of [sh, orphan, init]) await gone(pid);
		}),
	);
}

for (const kind of ["pid", "time"] as const) {
	test(
		`with a ${kind} namespace, signals reach the program, and its exit status or signal is reported`,
		{ needs: [...needs, `ns:${kind}`] },
		() =>
			within(async (ns, start) => {
				const script =
					'trap "echo usr1" USR1; trap "echo hup; exit 9" HUP; echo ready; while :; do sleep 0.02; done';
				const child = start("sh", ["-c", script], { unshare: [kind] });
				const end = ended(child);
				await once(child.stdout as NodeJS.ReadableStream, "data");
				child.kill("SIGUSR1");
				await once(child.stdout as NodeJS.ReadableStream, "data");
				child.kill("SIGHUP");
				const { status: code, stdout } = await end;
				assert.deepEqual([code, stdout], [9, "ready\nusr1\nhup\n"]);

				for (const signal of ["SIGKILL", "SIGSEGV", "SIGINT", "SIGPIPE"] as const) {
					const dies = await ended(
						ns.spawn("sh", ["-c", `kill -${signal.slice(3)} $$`], { unshare: [kind] }),
					);
					// In a pid namespace the kernel ignores signals to process 1 only, and the program is not process 1.
					assert.equal(dies.signal, signal);
				}
			}),
	);
}

for (const kind of ["pid", "time"] as const) {
	test(
		`with a ${kind} namespace, a pipe that the program closes ends before the program does`,
		{ needs: [...needs, `ns:${kind}`] },
		() =>
			within(async (_, start) => {
				const child = start("sh", ["-c", "exec > /dev/null; exec sleep 1000"], {
					stdio: ["ignore", "pipe", "ignore"],
					unshare: [kind],
				});
				const end = once(child, "close");
				child.stdout?.resume();
				// If one of the package's processes kept the pipe open, this would wait for the end of the program.
				const signal = AbortSignal.timeout(10_000);
				await once(child.stdout as NodeJS.ReadableStream, "end", { signal });
				assert.deepEqual([child.exitCode, child.signalCode], [null, null]);
				child.kill("SIGTERM");
				await end;
			}),
	);
}

/**
 * timeout(1) makes a process group with a parent of its session outside. In a group without one, as setsid(1) and CI
 * agents start it, and in a session of the program's own, the kernel ignores SIGTSTP.
 */
const GROUP = ["timeout", String(40 * SLOWER)];

test("SIGTSTP and SIGCONT reach the program if it stays in the session", { needs }, () => {
	const states = ask<string[]>(
		`import { once } from "node:events";
		import { setTimeout as sleep } from "node:timers/promises";
		const { childCalled, gone, status } = await import(${JSON.stringify(new URL("../support/programs.js", import.meta.url))});
		const ns = await userns.UserNamespace.create(${JSON.stringify(hosted("0:100000:65536"))}, { setgroups: "allow" });
		const child = ns.spawn("sleep", ["1000"], { stdio: "ignore", unshare: ["pid"], keepSession: true });
		const end = once(child, "close");
		const inner = await childCalled(child.pid, "sleep");
		const states = [];
		const see = async (wanted) => {
			for (const pid of [inner, child.pid]) {
				const state = () => status(pid, "State")?.[0];
				for (let i = 0; i < ${600 * SLOWER} && state() !== wanted; i++) await sleep(5);
				states.push(state());
			}
		};
		child.kill("SIGTSTP");
		await see("T");
		child.kill("SIGCONT");
		await see("S");
		child.kill("SIGKILL");
		await end;
		await gone(inner);
		ns.close();
		console.log(JSON.stringify(states));`,
		{ prefix: GROUP },
	);
	assert.deepEqual(states, ["T", "T", "S", "S"]);
});

test("neither process of this package can be traced or read from inside", { needs }, () =>
	within(async (_, start) => {
		const child = start("sleep", ["1000"], { stdio: "ignore", unshare: ["pid"] });
		const end = once(child, "close");
		const outer = child.pid as number;
		await childCalled(outer, "sleep");
		const init = await childCalled(outer, "userns-init");
		// root owns the /proc files of an undumpable process, whatever its uid.
		const script = `for p in ${outer} ${init}; do cat /proc/$p/environ > /dev/null 2>&1 && echo read $p; ls /proc/$p/fd > /dev/null 2>&1 && echo listed $p; done; echo done`;
		const { stdout } = await ended(start("sh", ["-c", script]));
		child.kill("SIGKILL");
		await end;
		assert.equal(stdout, "done\n");
	}),
);

test("a limit in the namespace is an error event that names the step and the limit's folder", {
	needs,
}, async () => {
	await within(async (ns) => {
		const limit = "echo 0 > /proc/sys/user/max_net_namespaces";
		assert.equal((await ended(ns.spawn("sh", ["-c", limit]))).status, 0);
		const { error, status: code } = await ended(ns.spawn("true", [], { unshare: ["net"] }));
		assert.equal(code, 125);
		assert.deepEqual(
			[error?.code, error?.errnoCode, error?.step],
			["ERR_USERNS_SPAWN", "ENOSPC", "creating the other namespaces"],
		);
		assert.match(error?.hint ?? "", /\/proc\/sys\/user/);
	});
});
