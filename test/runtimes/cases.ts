import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
	chmodSync,
	closeSync,
	mkdtempSync,
	openSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	realpathSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import {
	fromOci,
	Handles,
	Mapping,
	mountIdmapped,
	mounts,
	mountsAsync,
	overlay,
	pin,
	pinAsync,
	supports,
	UserNamespace,
	UsernsError,
	unmount,
	unmountAsync,
} from "../../src/index.ts";
import { startContainer } from "../support/container.ts";
import { host, hosted } from "../support/ids.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import type { Need } from "../support/needs.ts";
import { ended } from "../support/programs.ts";
import { runFile } from "../support/runtime.ts";
import { MAP, within } from "../support/within.ts";

/*
 * What users call, as functions without a test runner: `npm test` runs them with node:test (cases.test.ts), and
 * `npm run test:runtimes` runs them with Node, Bun and Deno (main.ts).
 */

export interface Case {
	name: string;
	needs: readonly Need[];
	run: () => void | Promise<void>;
}

const ids: readonly Need[] = ["linux", "ids"];
const withMounts: readonly Need[] = ["linux", "root", "mounts"];

const INDEX = fileURLToPath(new URL("../../src/index.js", import.meta.url));

/** Runs a module in a process of the same runtime. The module has the package as `userns`. */
function runModule(
	body: string,
	env: NodeJS.ProcessEnv = {},
): { status: number | null; stdout: string; stderr: string } {
	const folder = mkdtempSync(join(tmpdir(), "userns-case-"));
	try {
		const file = join(folder, "case.mjs");
		writeFileSync(file, `import * as userns from ${JSON.stringify(INDEX)};\n${body}`);
		const [program = "", ...args] = runFile(file);
		return spawnSync(program, args, { encoding: "utf8", timeout: 30_000, env: { ...process.env, ...env } });
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** A program that execve(2) refuses with ENOEXEC. */
async function withUnfit(body: (path: string) => Promise<void>): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-case-"));
	const file = join(folder, "words");
	try {
		chmodSync(folder, 0o755);
		writeFileSync(file, "just words\n", { mode: 0o755 });
		await body(file);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

function throwsCode(run: () => unknown, code: string): void {
	assert.throws(run, (error) => error instanceof UsernsError && error.code === code && error.hint !== "");
}

/** How many descriptors of user namespaces are open. */
function openNamespaces(): number {
	const links = readdirSync("/proc/self/fd").map((fd) => {
		try {
			return readlinkSync(`/proc/self/fd/${fd}`);
		} catch {
			return ""; // the descriptor of the listing
		}
	});
	return links.filter((link) => link.startsWith("user:")).length;
}

export const cases: readonly Case[] = [
	{
		name: "Mapping: parse, from, convert, compare",
		needs: [],
		run: () => {
			const mapping = Mapping.parse("0:100000:65536");
			assert.equal(mapping.id, Mapping.from(mapping.toJSON()).id);
			assert.ok(mapping.equals(Mapping.parse("0:100000:1000,1000:101000:64536")));
			assert.equal(mapping.toString("incus"), "both 100000-165535 0-65535");
			throwsCode(() => Mapping.parse("0:0:0"), "ERR_USERNS_INVALID_MAPPING");
		},
	},
	{
		name: "Mapping.rootless: the calling user is that of the process, and not that of the variable USER",
		needs: ["linux"],
		run: () => {
			const code = `try { userns.Mapping.rootless(); } catch (error) { console.log(error.message); }`;
			const { status, stdout, stderr } = runModule(code, { USER: "userns-other", LOGNAME: "userns-other" });
			assert.equal(status, 0, stderr);
			assert.doesNotMatch(stdout, /userns-other/);
		},
	},
	{
		name: "create and createSync: the mapping is read back from the kernel",
		needs: ids,
		run: async () => {
			const made = await UserNamespace.create(MAP);
			const other = UserNamespace.createSync(MAP, { setgroups: "allow" });
			try {
				const bare = UserNamespace.open(`/proc/self/fd/${made.fd}`);
				assert.equal((await bare.mapping()).id, Mapping.parse(MAP).id);
				assert.equal(bare.mappingSync().id, Mapping.parse(MAP).id);
				assert.equal(await bare.setgroups(), "deny");
				assert.equal(await other.setgroups(), "allow");
				assert.ok(bare.equals(made) && !bare.equals(other));
				assert.equal(made.inode, statSync(`/proc/self/fd/${made.fd}`).ino);
				assert.equal(made.ownerUid(), process.geteuid?.());
				bare.close();
				assert.ok(bare.closed);
				throwsCode(() => bare.fd, "ERR_USERNS_CLOSED");
			} finally {
				made.close();
				other.close();
			}
		},
	},
	{
		name: "300 creations at once, and their descriptors are closed",
		needs: ids,
		run: async () => {
			const before = openNamespaces();
			const all = await Promise.all(Array.from({ length: 300 }, () => UserNamespace.create(MAP)));
			assert.equal(new Set(all.map((each) => each.inode)).size, 300);
			assert.equal(openNamespaces(), before + 300);
			for (const each of all) each.close();
			assert.equal(openNamespaces(), before);
		},
	},
	{
		name: "Handles: one namespace for each mapping, a new descriptor for each caller",
		needs: ids,
		run: async () => {
			const handles = new Handles();
			const [a, b] = await Promise.all([handles.get(MAP), handles.get(MAP)]);
			const c = handles.getSync(MAP);
			const d = c.dup();
			assert.ok(a.equals(b) && a.equals(c) && a.equals(d));
			assert.equal(new Set([a.fd, b.fd, c.fd, d.fd]).size, 4);
			assert.equal(handles.size, 1);
			for (const each of [a, b, c, d]) each.close();
			handles.release();
			assert.equal(handles.size, 0);
		},
	},
	{
		name: "open and openAsync: of a process, and at a path; parent",
		needs: ids,
		run: () =>
			within("deny", async (ns) => {
				const child = ns.spawn("sleep", ["1000"], { stdio: "ignore" });
				const end = once(child, "exit");
				try {
					const pid = child.pid as number;
					// Before, it is userns-enter, which is not dumpable: an ordinary user may not read its link.
					while (readFileSync(`/proc/${pid}/comm`, "utf8") !== "sleep\n") await sleep(5);
					assert.equal(readlinkSync(`/proc/${pid}/ns/user`), `user:[${ns.inode}]`);
					const byPath = await UserNamespace.openAsync(`/proc/${pid}/ns/user`);
					const byPid = UserNamespace.open(pid);
					const own = UserNamespace.open("/proc/self/ns/user");
					const parent = byPid.parent();
					assert.ok(byPid.equals(ns) && byPath.equals(ns) && parent?.equals(own));
					for (const each of [byPid, byPath, own, parent]) each?.close();
				} finally {
					child.kill("SIGKILL");
					await end;
				}
				throwsCode(() => UserNamespace.open("/proc/self/ns/mnt"), "ERR_USERNS_NOT_A_USER_NAMESPACE");
			}),
	},
	{
		name: "errors: a refused mapping and an aborted call",
		needs: ids,
		run: async () => {
			throwsCode(() => UserNamespace.createSync("0:4294967295:1"), "ERR_USERNS_INVALID_MAPPING");
			const aborted = UserNamespace.create(MAP, { signal: AbortSignal.abort() });
			await assert.rejects(aborted, { name: "AbortError" });
			throwsCode(() => UserNamespace.open("/nonexistent/ns"), "ERR_USERNS_OPEN");
		},
	},
	{
		name: "spawn: output, input, status, signal, IDs, environment, directory, shell",
		needs: ids,
		run: () =>
			within("deny", async (ns) => {
				const id = await ended(
					ns.spawn("sh", ["-c", "id -u; id -g; pwd; echo $WORD; exit 7"], {
						uid: 33,
						gid: 33,
						cwd: "/",
						env: { ...process.env, WORD: "word" },
					}),
				);
				assert.deepEqual([id.stdout, id.status], ["33\n33\n/\nword\n", 7]);
				const cat = ns.spawn("cat");
				cat.stdin?.end("text");
				assert.equal((await ended(cat)).stdout, "text");
				const slept = ns.spawn("sleep", ["1000"]);
				setTimeout(() => slept.kill("SIGTERM"), 50);
				assert.equal((await ended(slept)).signal, "SIGTERM");
				assert.equal((await ended(ns.spawn("echo a; echo b", { shell: true }))).stdout, "a\nb\n");
			}),
	},
	{
		name: "spawn: stdio ignore, inherit and a descriptor; the program has no other descriptor",
		needs: ids,
		run: () =>
			within("deny", async (ns) => {
				const folder = mkdtempSync(join(tmpdir(), "userns-case-"));
				try {
					const file = openSync(join(folder, "out"), "w");
					const list = "ls -l /proc/$$/fd | grep -c 'user:\\|memfd:'";
					const child = ns.spawn("sh", ["-c", `${list} >&3; echo said >&3`], {
						stdio: ["ignore", "inherit", "inherit", file],
					});
					closeSync(file);
					assert.equal((await ended(child)).status, 0);
					assert.equal(readFileSync(join(folder, "out"), "utf8"), "0\nsaid\n");
				} finally {
					rmSync(folder, { recursive: true });
				}
			}),
	},
	{
		name: "spawn: other namespaces, and process 1 of a PID namespace",
		needs: ids,
		run: () =>
			within("deny", async (ns) => {
				const own = readlinkSync("/proc/self/ns/uts");
				const kinds = ["mount", "pid", "uts", "ipc", "network"] as const;
				const command = "echo $$; readlink /proc/self/ns/uts; mount -t tmpfs none /mnt && echo mounted";
				const { stdout, stderr, status } = await ended(
					ns.spawn("sh", ["-c", command], { unshare: kinds.filter((kind) => kind !== "network") }),
				);
				assert.equal(status, 0, stderr);
				const [pid, uts, mounted] = stdout.split("\n");
				assert.ok(Number(pid) > 0);
				assert.notEqual(uts, own);
				assert.equal(mounted, "mounted");
			}),
	},
	{
		name: "spawn: a missing program throws",
		needs: ids,
		run: () =>
			within("deny", async (ns) =>
				throwsCode(() => ns.spawn("/nonexistent/program"), "ERR_USERNS_NO_PROGRAM"),
			),
	},
	{
		name: "spawn: the error event arrives with its step, before exit, for 180 programs that cannot be executed",
		needs: ids,
		run: () =>
			within("deny", (ns) =>
				withUnfit(async (file) => {
					for (let batch = 0; batch < 3; batch++) {
						const all = Array.from({ length: 60 }, async () => {
							const child = ns.spawn(file, [], { stdio: batch === 0 ? "pipe" : "ignore" });
							const events: unknown[] = [];
							child.on("error", (error: Error & { step?: string }) => events.push(error.step));
							child.on("exit", (status) => events.push(status));
							await new Promise((resolve) => child.on("exit", resolve));
							return events;
						});
						for (const events of await Promise.all(all)) {
							assert.deepEqual(events, ["executing the program", 126]);
						}
					}
				}),
			),
	},
	{
		name: "spawn: the error event arrives when the event loop was busy until the program had exited",
		needs: ids,
		run: () =>
			within("deny", (ns) =>
				withUnfit(async (file) => {
					const child = ns.spawn(file, [], { stdio: "ignore" });
					const end = new Promise((resolve) => child.on("error", resolve));
					const until = Date.now() + 300;
					while (Date.now() < until);
					assert.equal(((await end) as UsernsError).errnoCode, "ENOEXEC");
				}),
			),
	},
	{
		name: "spawn: 250 programs at once end with their own status, and leave no descriptor",
		needs: ids,
		run: () =>
			within("deny", async (ns) => {
				const before = openNamespaces();
				const statuses = await Promise.all(
					Array.from({ length: 250 }, async (_, i) => {
						const child = ns.spawn("sh", ["-c", `exit ${i}`], { stdio: "ignore" });
						return new Promise((resolve) => child.on("exit", resolve));
					}),
				);
				assert.deepEqual(statuses, [...Array(250).keys()]);
				assert.equal(openNamespaces(), before);
			}),
	},
	{
		name: "exec: replaces the process",
		needs: ids,
		run: () => {
			const map = JSON.stringify(hosted("0:100000:10"));
			const { status, stdout, stderr } = runModule(
				`userns.UserNamespace.createSync(${map}).exec("sh", ["-c", "id -u; exit 5"], { uid: 7 });`,
			);
			assert.deepEqual([status, stdout], [5, "7\n"], stderr);
		},
	},
	{
		name: "a process ends by itself after the calls, and closed handles print no warning",
		needs: ids,
		run: () => {
			const map = JSON.stringify(hosted("0:100000:10"));
			const { status, stdout, stderr } = runModule(
				`const ns = await userns.UserNamespace.create(${map});
				const child = ns.spawn("true");
				await new Promise((resolve) => child.on("close", resolve));
				ns.close();
				console.log("done");`,
			);
			assert.deepEqual([status, stdout, stderr], [0, "done\n", ""]);
		},
	},
	{
		name: "a descriptor of a namespace is inherited through the stdio of child_process",
		needs: ids,
		run: () =>
			within("deny", async (ns) => {
				const child = spawn("readlink", ["/proc/self/fd/3"], {
					stdio: ["ignore", "pipe", "inherit", ns.fd],
				});
				assert.equal((await ended(child)).stdout, `user:[${ns.inode}]\n`);
			}),
	},
	{
		name: "a worker creates a namespace, and ends",
		needs: ids,
		run: async () => {
			const folder = realpathSync(mkdtempSync(join(tmpdir(), "userns-case-")));
			try {
				const file = join(folder, "worker.mjs");
				writeFileSync(
					file,
					`import { parentPort } from "node:worker_threads";
					import { UserNamespace } from ${JSON.stringify(INDEX)};
					const ns = await UserNamespace.create(${JSON.stringify(MAP)});
					parentPort.postMessage((await ns.mapping()).id);
					ns.close();`,
				);
				const worker = new Worker(file);
				const exit = once(worker, "exit");
				const [id] = await once(worker, "message");
				assert.equal(id, Mapping.parse(MAP).id);
				await worker.terminate();
				await exit;
			} finally {
				rmSync(folder, { recursive: true });
			}
		},
	},
	{
		name: "Symbol.dispose and Symbol.asyncDispose close",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const ns = UserNamespace.createSync(MAP);
				ns[Symbol.dispose]();
				assert.ok(ns.closed);
				const [source = "", target = ""] = mkdirs(folder, "source", "target");
				const mount = await mountIdmapped({ source, target, mapping: MAP });
				await mount[Symbol.asyncDispose]();
				assert.equal(mountAt(target), undefined);
			}),
	},
	{
		name: "mountIdmapped: the owners are mapped, by a path and by a descriptor; attributes; unmount",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const [source = "", target = ""] = mkdirs(folder, "source", "target");
				writeFileSync(join(source, "file"), "");
				for (const by of ["path", "descriptor"]) {
					const fd = by === "path" ? undefined : openSync(source, "r");
					const mount = await mountIdmapped({ source: fd ?? source, target, mapping: MAP, readonly: true });
					if (fd !== undefined) closeSync(fd);
					assert.equal(statSync(join(target, "file")).uid, host(100000), by);
					assert.throws(() => writeFileSync(join(target, "new"), ""), { code: "EROFS" });
					assert.equal(mountAt(target)?.id, mount.mountId);
					assert.equal(mount.mapping?.id, Mapping.parse(MAP).id);
					await mount.unmount();
					assert.equal(mountAt(target), undefined);
				}
			}),
	},
	{
		name: "mountIdmapped: attached later, replaced, recursive",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const [source = "", target = ""] = mkdirs(folder, "source", "target");
				writeFileSync(join(source, "file"), "");
				const mount = await mountIdmapped({ source, mapping: MAP });
				await mount.attach(target);
				const next = await mountIdmapped({
					source,
					target,
					mapping: hosted("0:300000:10"),
					recursive: true,
					replace: true,
				});
				assert.equal(statSync(join(target, "file")).uid, host(300000));
				mount.close();
				await next.unmount();
				assert.equal(statSync(join(source, "file")).uid, 0);
				assert.equal(mountAt(target), undefined);
			}),
	},
	{
		name: "unmount and unmountAsync by path: a mount of another process of the runtime",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const [source = "", target = ""] = mkdirs(folder, "source", "target");
				for (const call of [unmount, unmountAsync]) {
					const options = JSON.stringify({ source, target, mapping: MAP });
					const { status, stderr } = runModule(`(await userns.mountIdmapped(${options})).close();`);
					assert.equal(status, 0, stderr);
					assert.equal((await call(target)).kind, "idmapped mount");
					assert.equal(mountAt(target), undefined);
				}
			}),
	},
	{
		name: "into a container, mounts({ pid }), mountsAsync({ pid }), and unmount with into",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const [source = ""] = mkdirs(folder, "source");
				const container = await startContainer(folder, "pivot", hosted("0:100000:65536"));
				try {
					for (const [list, remove] of [
						[mounts, unmount],
						[mountsAsync, unmountAsync],
					] as const) {
						const { pid } = container;
						const mount = await mountIdmapped({ source, target: "/data", into: pid, mapping: MAP });
						mount.close();
						const found = (await list({ pid, idmapped: true })).filter(
							({ mountPoint }) => mountPoint === "/data",
						);
						assert.deepEqual(
							found.map(({ mapping }) => mapping?.id),
							[Mapping.parse(MAP).id],
						);
						assert.equal((await remove("/data", { into: pid })).kind, "idmapped mount");
						assert.equal((await list({ pid })).filter(({ mountPoint }) => mountPoint === "/data").length, 0);
					}
				} finally {
					await container.end();
				}
			}),
	},
	{
		name: "mounts and mountsAsync list the mounts of this process",
		needs: ["linux"],
		run: async () => {
			const lines = readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n");
			const wanted = lines.map((line) => Number(line.split(" ", 1)[0])).sort();
			assert.deepEqual(
				mounts()
					.map(({ mountId }) => mountId)
					.sort(),
				wanted,
			);
			assert.deepEqual((await mountsAsync()).map(({ mountId }) => mountId).sort(), wanted);
		},
	},
	{
		name: "supports: yes, and no with a reason",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				assert.equal((await supports(folder)).supported, true);
				const { supported, hint } = await supports("/proc");
				assert.equal(supported, false);
				assert.ok(hint);
			}),
	},
	{
		name: "pin and pinAsync: a pinned namespace is opened by its path, and unmounted",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const path = join(folder, "pinned");
				for (const [make, remove] of [
					[pin, unmount],
					[pinAsync, unmountAsync],
				] as const) {
					const made = UserNamespace.createSync(MAP);
					await make(made, path);
					const opened = UserNamespace.open(path);
					assert.ok(opened.equals(made));
					opened.close();
					made.close();
					assert.equal((await remove(path)).kind, "user namespace");
					assert.ok(!readdirSync(folder).includes("pinned"));
				}
			}),
	},
	{
		name: "unmap: the files have their owners on disk again",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const [source = "", mapped = "", plain = ""] = mkdirs(folder, "source", "mapped", "plain");
				writeFileSync(join(source, "file"), "");
				const mount = await mountIdmapped({ source, target: mapped, mapping: MAP });
				const again = await mountIdmapped({ source: mapped, target: plain, unmap: true });
				assert.equal(statSync(join(mapped, "file")).uid, host(100000));
				assert.equal(statSync(join(plain, "file")).uid, 0);
				again.close();
				assert.equal(unmount(plain).kind, "mount without a map");
				await mount.unmount();
			}),
	},
	{
		name: "overlay: ID-mapped layers",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const [lower = "", upper = "", work = "", target = ""] = mkdirs(
					folder,
					"lower",
					"upper",
					"work",
					"target",
				);
				writeFileSync(join(lower, "file"), "");
				const made = await overlay({ lower, upper, work, target, mapping: MAP });
				assert.equal(statSync(join(target, "file")).uid, host(100000));
				await made.unmount();
				assert.equal(mountAt(target), undefined);
			}),
	},
	{
		name: "fromOci: a mount of a config.json",
		needs: withMounts,
		run: () =>
			withTmpfs(async (folder) => {
				const [source = "", target = ""] = mkdirs(folder, "source", "target");
				writeFileSync(join(source, "file"), "");
				const entry = { destination: target, source, type: "bind", options: ["idmap", "ro"] };
				const mount = await mountIdmapped({ ...fromOci(entry, { container: MAP }), targetRoot: "/" });
				assert.equal(statSync(join(target, "file")).uid, host(100000));
				await mount.unmount();
			}),
	},
];
