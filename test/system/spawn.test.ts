import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	chmodSync,
	chownSync,
	closeSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	openSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type NamespaceSpawnOptions, UserNamespace } from "../../src/index.ts";
import { ask, runScript } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { host, hosted } from "../support/ids.ts";
import { becomes, descriptorsOf, ended, namespaceOf, status } from "../support/programs.ts";
import { test } from "../support/test.ts";
import { MAP, within } from "../support/within.ts";

const needs = ["linux", "ids"] as const;
const root = ["linux", "root"] as const;

/** Runs a sleeping program and returns its state in /proc, from outside. */
async function look<T>(
	ns: UserNamespace,
	options: NamespaceSpawnOptions,
	see: (pid: number) => T,
): Promise<T> {
	const child = ns.spawn("sleep", ["1000"], { stdio: "ignore", ...options });
	const pid = child.pid as number;
	try {
		await becomes(pid, "sleep");
		return see(pid);
	} finally {
		child.kill("SIGKILL");
		await once(child, "close");
	}
}

const ids = (pid: number) => [status(pid, "Uid"), status(pid, "Gid"), status(pid, "Groups")];
const four = (id: number) => [id, id, id, id].join(" ");

test("a program runs in the namespace, as its root, without the caller's groups", { needs }, () =>
	within("allow", async (ns) => {
		const seen = await look(ns, {}, (pid) => [namespaceOf(pid, "user"), ...ids(pid)]);
		assert.deepEqual(seen, [`user:[${ns.inode}]`, four(host(100000)), four(host(100000)), ""]);
	}),
);

test("uid, gid and groups are IDs in the namespace", { needs }, () =>
	within("allow", async (ns) => {
		const seen = await look(ns, { uid: 1000, gid: 2000, groups: [5, 65535, 7] }, ids);
		assert.deepEqual(seen, [
			four(host(101000)),
			four(host(102000)),
			[100005, 100007, 165535].map(host).join(" "),
		]);
	}),
);

test("with setgroups denied, the caller's own groups are dropped too", { needs: root }, () =>
	within("deny", async (ns) => {
		const before = process.getgroups?.() ?? [];
		process.setgroups?.([0, 4]);
		try {
			assert.deepEqual(await look(ns, { uid: 5, gid: 6 }, ids), [four(100005), four(100006), ""]);
		} finally {
			process.setgroups?.(before);
		}
	}),
);

test("in a namespace without ID 0 a program runs with the caller's own ID, or the error says that there is none", {
	needs: root,
}, async () => {
	await within("deny", async (ns) => assert.equal((await look(ns, {}, ids))[0], four(0)), "7:0:1,1:100000:1");
	await within(
		"deny",
		async (ns) => {
			assert.throws(() => ns.spawn("true"), failure("ERR_USERNS_UNMAPPED_ID", /neither uid 0 nor/));
			assert.equal((await look(ns, { uid: 7, gid: 7 }, ids))[0], four(host(100000)));
		},
		hosted("7:100000:1"),
	);
});

test("a program has the descriptors of stdio and no other", { needs: root }, () =>
	within("deny", async (ns) => {
		const extra = openSync("/dev/null", "r");
		const seen = await look(ns, { stdio: ["ignore", "ignore", "ignore", "ignore", extra] }, descriptorsOf);
		closeSync(extra);
		// As in child_process, "ignore" opens /dev/null for the standard descriptors only.
		assert.deepEqual(Object.keys(seen), ["0", "1", "2", "4"]);
		assert.deepEqual(new Set(Object.values(seen)), new Set(["/dev/null"]));
	}),
);

test("a program's environment and arguments contain nothing of this package", { needs }, () =>
	within("deny", async (ns) => {
		const { stdout } = await ended(
			ns.spawn("sh", ["-c", 'tr "\\0" "\\n" < /proc/$$/environ; tr "\\0" "|" < /proc/$$/cmdline'], {
				env: { PATH: "/usr/bin:/bin", A: "1" },
				argv0: "other",
			}),
		);
		const [environment = "", arguments_ = ""] = stdout.split(/\n(?=other)/);
		assert.deepEqual(environment.split("\n").sort(), ["A=1", "PATH=/usr/bin:/bin"]);
		assert.match(arguments_, /^other\|-c\|/);
	}),
);

test(
	"a library that an environment variable names is not loaded before the program",
	{ needs: [...needs, "tool:cc"] },
	() =>
		within("deny", async (ns) => {
			// The library writes its line once for each program that loads it: the package's own, and sh.
			const folder = mkdtempSync(join(tmpdir(), "userns-preload-"));
			chmodSync(folder, 0o755);
			const library = join(folder, "x.so");
			const source =
				'#include <unistd.h>\n__attribute__((constructor)) static void f(void) { write(2, "L\\n", 2); }\n';
			writeFileSync(join(folder, "x.c"), source);
			const { spawnSync } = await import("node:child_process");
			assert.equal(spawnSync("cc", ["-w", "-shared", "-fPIC", "-o", library, join(folder, "x.c")]).status, 0);
			const { stderr, status: code } = await ended(
				ns.spawn("sh", ["-c", "exit 3"], { env: { PATH: "/usr/bin:/bin", LD_PRELOAD: library } }),
			);
			rmSync(folder, { recursive: true });
			assert.deepEqual([code, stderr], [3, "L\n"]);
		}),
);

test("standard streams, exit status and signals are those of child_process", { needs }, () =>
	within("deny", async (ns) => {
		const child = ns.spawn("sh", ["-c", "cat; echo err >&2; exit 7"]);
		child.stdin?.end("through");
		assert.deepEqual(await ended(child), {
			status: 7,
			signal: null,
			stdout: "through",
			stderr: "err\n",
			error: undefined,
		});
		assert.equal(child.spawnfile, "sh");
		assert.deepEqual(child.spawnargs, ["sh", "-c", "cat; echo err >&2; exit 7"]);
		assert.equal(child.stdio.length, 3);

		for (const signal of ["SIGTERM", "SIGKILL", "SIGUSR2"] as const) {
			const sleeper = ns.spawn("sleep", ["1000"]);
			await becomes(sleeper.pid as number, "sleep");
			assert.ok(sleeper.kill(signal));
			assert.equal((await ended(sleeper)).signal, signal);
		}
	}),
);

test("a program does not ignore the signals that Node ignores or blocks", { needs }, () =>
	within("deny", async (ns) => {
		const seen = await look(ns, {}, (pid) => [status(pid, "SigIgn"), status(pid, "SigBlk")]);
		assert.deepEqual(seen, ["0000000000000000", "0000000000000000"]);
	}),
);

test("shell, cwd as path and URL, env, inherit, a pipe above 2 and an ipc channel work", { needs }, () =>
	within("allow", async (ns) => {
		const shell = await ended(
			ns.spawn("echo $((6*7)) $X; pwd", { shell: true, cwd: "/usr", env: { ...process.env, X: "x" } }),
		);
		assert.equal(shell.stdout, "42 x\n/usr\n");
		const url = await ended(ns.spawn("pwd", [], { cwd: pathToFileURL("/usr/lib/") }));
		assert.equal(url.stdout, "/usr/lib\n");

		const four = ns.spawn("sh", ["-c", "cat <&4 >&3"], {
			stdio: ["ignore", "ignore", "inherit", "pipe", "pipe"],
		});
		const [, , , out, into] = four.stdio as [
			unknown,
			unknown,
			unknown,
			NodeJS.ReadableStream,
			NodeJS.WritableStream,
		];
		into.end("both ways");
		let said = "";
		out.on("data", (chunk) => {
			said += chunk;
		});
		await once(four, "close");
		assert.equal(said, "both ways");

		const script =
			'process.on("message", (m) => { process.send([m, process.getuid()]); process.disconnect(); });';
		const ipc = ns.spawn(process.execPath, ["-e", script], {
			stdio: ["ignore", "inherit", "inherit", "ipc"],
			cwd: "/",
		});
		ipc.send("ping");
		const [answer] = await once(ipc, "message");
		await once(ipc, "close");
		assert.deepEqual(answer, ["ping", 0]);
	}),
);

test(
	"null and empty options, and an environment without PATH, mean the same as to child_process",
	{
		needs,
	},
	() =>
		within("deny", async (ns) => {
			const folder = mkdtempSync(join(tmpdir(), "userns-spawn-"));
			const path = process.env.PATH;
			try {
				chmodSync(folder, 0o755);
				writeFileSync(join(folder, "only-here"), "#!/bin/sh\necho here\n", { mode: 0o755 });
				process.env.PATH = `${path}:${folder}`;
				const spawns: [command: string, args: string[], options: object][] = [
					["echo", ["$0"], { shell: "" }],
					["echo", ["x"], { shell: null, cwd: null, env: null, stdio: null }],
					["sh", ["-c", "echo $PATH"], { env: {} }],
					["only-here", [], { env: { PATH: "" }, cwd: folder }],
					["only-here", [], { env: { PATH: "/nonexistent:" }, cwd: folder }],
					["./only-here", [], { cwd: folder }],
				];
				for (const [command, args, options] of spawns) {
					const there = await ended(spawn(command, args, options));
					assert.deepEqual([there.status, there.error], [0, undefined]);
					assert.deepEqual(await ended(ns.spawn(command, args, options)), there, command);
				}
				// The program is in this process's PATH, and not in that of the environment.
				for (const env of [{}, { PATH: undefined }]) {
					assert.equal((await ended(spawn("only-here", [], { env }))).error?.code, "ENOENT");
					assert.throws(
						() => ns.spawn("only-here", [], { env }),
						failure("ERR_USERNS_NO_PROGRAM", /no such/),
					);
				}
			} finally {
				process.env.PATH = path;
				rmSync(folder, { recursive: true });
			}
		}),
);

test("a program runs in a working directory that was deleted, as with child_process", {
	needs,
}, () => {
	const answer = ask<(number | string)[]>(
		`import fs from "node:fs";
		import { once } from "node:events";
		const ns = userns.UserNamespace.createSync(${JSON.stringify(MAP)});
		process.chdir(fs.mkdtempSync("/tmp/userns-gone-"));
		fs.rmdirSync(process.cwd());
		const [status] = await once(ns.spawn("sh", ["-c", "exit 7"], { stdio: "ignore" }), "close");
		let code;
		try { ns.spawn("./true"); } catch (error) { code = error.code; }
		console.log(JSON.stringify([status, code]));`,
	);
	assert.deepEqual(answer, [7, "ERR_USERNS_NO_PROGRAM"]);
});

test("an abort signal, a timeout and a separate session work", { needs }, () =>
	within("deny", async (ns) => {
		const controller = new AbortController();
		const aborted = ns.spawn("sleep", ["1000"], { signal: controller.signal });
		const end = ended(aborted);
		controller.abort();
		const { error, signal } = await end;
		assert.equal(error?.name, "AbortError");
		assert.equal(signal, "SIGTERM");

		const late = await ended(ns.spawn("sleep", ["1000"], { timeout: 50, killSignal: "SIGINT" }));
		assert.equal(late.signal, "SIGINT");

		const session = await look(ns, { detached: true }, (pid) => [
			Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[3]),
			pid,
		]);
		assert.equal(session[0], session[1]);
	}),
);

test("the caller's own namespace is refused, by every way to open it, before a process is started", {
	needs,
}, () => {
	const marker = join(tmpdir(), `userns-own-${process.pid}`);
	for (const target of [process.pid, "/proc/self/ns/user"]) {
		const own = UserNamespace.open(target);
		const duplicate = own.dup();
		for (const run of [
			() => own.spawn("touch", [marker]),
			() => duplicate.spawn("touch", [marker], { unshare: ["mount"] }),
			() => own.spawn("touch", [marker], { join: { pid: process.pid, kinds: "all" } }),
			() => own.exec("touch", [marker]),
		]) {
			assert.throws(run, {
				code: "ERR_USERNS_SPAWN",
				message: /it is the user namespace of this process, so the program would have the caller's own IDs/,
			});
		}
		duplicate.close();
		own.close();
	}
	assert.ok(!existsSync(marker));
});

test(
	"a uid other than root executes what that uid may execute, and nothing by root's capabilities",
	{
		needs: root,
	},
	() =>
		within("deny", async (ns) => {
			const folder = mkdtempSync(join(tmpdir(), "userns-spawn-"));
			try {
				chmodSync(folder, 0o755);
				const inRoots = join(folder, "closed/program");
				const roots = join(folder, "program");
				mkdirSync(join(folder, "closed"), { mode: 0o700 });
				for (const path of [inRoots, roots]) copyFileSync("/bin/true", path);
				chmodSync(inRoots, 0o755);
				chmodSync(roots, 0o700);
				for (const path of [join(folder, "closed"), roots]) chownSync(path, 100000, 100000);
				for (const path of [inRoots, roots]) {
					for (const unshare of [[], ["time"], ["pid"]] as const) {
						if (!unshare.every((kind) => existsSync(`/proc/self/ns/${kind}`))) continue;
						const refused = await ended(ns.spawn(path, { uid: 33, gid: 33, unshare }));
						assert.deepEqual(
							[refused.status, refused.error?.errnoCode],
							[126, "EACCES"],
							`${path} ${unshare}`,
						);
					}
					assert.equal((await ended(ns.spawn(path))).status, 0, "root inside may");
				}
			} finally {
				rmSync(folder, { recursive: true });
			}
		}),
);

for (const closed of [[0], [1], [0, 1], [0, 1, 2]]) {
	for (const stdio of ["inherit", "pipe"]) {
		test(`descriptors ${closed} closed: a program with stdio ${stdio} runs, and no descriptor of the package takes the numbers`, {
			needs,
		}, () => {
			const folder = mkdtempSync(join(tmpdir(), "userns-spawn-"));
			const report = join(folder, "report");
			try {
				const { status, stderr } = runScript(
					`import fs from "node:fs";
					import { once } from "node:events";
					const report = fs.openSync(${JSON.stringify(report)}, "w");
					for (const fd of ${JSON.stringify(closed)}) fs.closeSync(fd);
					const ns = userns.UserNamespace.createSync(${JSON.stringify(MAP)});
					const copy = ns.dup();
					const command = "seen=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo \\"$seen\\" >&3; exit 7";
					const stdio = [0, 1, 2].map((fd) => ${JSON.stringify(stdio)} === "inherit" ? fd : "pipe");
					const child = ns.spawn("sh", ["-c", command], { stdio: [...stdio, report] });
					const [status] = await once(child, "close");
					fs.writeSync(report, [ns.fd > 2, copy.fd > 2, status].join());
					ns.close();
					copy.close();`,
				);
				// Since Node 22 libuv ends the process if one of its own descriptors has such a number.
				assert.equal(status, 0, stderr);
				const lines = readFileSync(report, "utf8").split("\n");
				assert.equal(lines.pop(), "true,true,7");
				assert.equal(lines.length, 3);
				for (const fd of closed) {
					if (stdio === "inherit") assert.equal(lines[fd], "/dev/null");
					else assert.match(lines[fd] ?? "", /^socket:/);
				}
			} finally {
				rmSync(folder, { recursive: true });
			}
		});
	}
}

test("300 concurrent programs end with their own status, and leave nothing", { needs }, () =>
	within("deny", async (ns) => {
		const all = await Promise.all(
			Array.from({ length: 300 }, (_, i) => ended(ns.spawn("sh", ["-c", `exit ${i % 256}`]))),
		);
		assert.deepEqual(
			all.map(({ status: code }) => code),
			Array.from({ length: 300 }, (_, i) => i % 256),
		);
	}),
);
