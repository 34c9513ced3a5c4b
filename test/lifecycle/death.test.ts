import assert from "node:assert/strict";
import { lstatSync, rmSync } from "node:fs";
import { join } from "node:path";
import { packageForAll, sh } from "../support/child.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { forRoot, type Operation, prelude, supervised } from "../support/operations.ts";
import { ACTION, callName, SCOPE, WORDS } from "../support/supervise.ts";
import { test } from "../support/test.ts";

const LONG = process.env.USERNS_LONG === "1";
const needs = ["linux", "root", "mounts", "tool:cc"] as const;

/** A whole process for each point takes its time: each point in the long form, and here as many as tell most. */
const STRIDE = LONG ? 1 : 5;

const SIGNALS = { SIGKILL: 9, SIGTERM: 15, SIGINT: 2 } as const;

function operation(name: string): Operation {
	const found = forRoot.find((each) => each.name === name);
	assert.ok(found);
	return found;
}

/** How many calls there are, as the supervisor counts them. */
function countCalls(each: Operation, scope: keyof typeof SCOPE, folder: string): number {
	const { status, stdout, stderr } = supervised(
		`${prelude(each, folder)}
		const given = await prepare();
		arm(${ACTION.kill}, ${SCOPE[scope]}, 4095, 9);
		const made = await run(given);
		const { count } = disarm();
		if (!await check(given, made)) throw new Error("not done");
		console.log(count);`,
	);
	assert.equal(status, 0, stderr);
	return Number(stdout);
}

interface Death {
	status: number | null;
	/** It came to the point at all. */
	reached: boolean;
	/** Those that were made before. */
	calls: string[];
	stderr: string;
}

function readDeath({ status, stderr }: { status: number | null; stderr: string }): Death {
	const [, not, numbers = ""] = /^supervise: (not )?reached after(.*)$/m.exec(stderr) ?? [];
	const calls = numbers.split(" ").filter(Boolean).map(Number).map(callName);
	return {
		status,
		reached: numbers !== undefined && not === undefined && /supervise:/.test(stderr),
		calls,
		stderr,
	};
}

/** The target is as it was, or wholly as was asked for, and the latter only when the attaching call had been made. */
function checkTargets(folder: string, calls: readonly string[], where: string, before = ""): void {
	const target = join(folder, "target");
	const mount = mountAt(target);
	if (mount !== undefined) {
		const asked = calls.includes("move_mount") || before.includes("mountIdmapped");
		assert.ok(asked, `${where}: attached, and nobody asked for it`);
		assert.ok(mount.options.includes("idmapped") && mount.options.includes("ro"), `${where}: half made`);
		sh("umount", target);
		assert.equal(mountAt(target), undefined, `${where}: more than one mount`);
	}
	const pinned = join(folder, "pinned");
	const file = lstatSync(pinned, { throwIfNoEntry: false });
	if (file === undefined) return;
	if (mountAt(pinned) !== undefined) {
		assert.ok(calls.includes("move_mount"), `${where}: pinned, and nobody asked for it`);
		assert.equal(mountAt(pinned)?.type, "nsfs");
		sh("umount", pinned);
	}
	assert.equal(lstatSync(pinned).size, 0);
	rmSync(pinned);
}

/** Kills the process at a call. Nothing of it lives three seconds later: then the status would be 99. */
function killAt(
	each: Operation,
	scope: keyof typeof SCOPE,
	index: number,
	signal: number,
	folder: string,
): boolean {
	const death = readDeath(
		supervised(
			`${prelude(each, folder)}
			const given = await prepare();
			arm(${ACTION.kill}, ${SCOPE[scope]}, ${index}, ${signal});
			await run(given);
			process.exit(0);`,
		),
	);
	const where = `${each.name}, signal ${signal} at call ${index} (${scope}), behind ${death.calls.at(-1)}`;
	assert.ok([0, 128 + signal].includes(death.status ?? -1), `${where}: ${death.status} ${death.stderr}`);
	checkTargets(folder, death.calls, where, each.before);
	return death.reached && death.status === 128 + signal;
}

const deaths: [name: string, scopes: (keyof typeof SCOPE)[], stride: number][] = [
	["createSync", ["own", "children"], STRIDE],
	["create", ["own"], LONG ? 1 : 8],
	["reading back", ["own", "children"], LONG ? 1 : 10],
	["mountIdmapped", ["own"], LONG ? 1 : 3],
	["mountIdmapped, with a targetRoot", ["own"], LONG ? 1 : 3],
	["IdmappedMount.unmount", ["own"], STRIDE],
	["pin", ["own"], LONG ? 1 : 2],
];

for (const [name, scopes, stride] of deaths) {
	const signals = Object.entries(SIGNALS).filter(([signal]) => LONG || signal === "SIGKILL");
	for (const [signal, number] of signals) {
		test(
			`${signal} at each call of ${name}: nobody lives on, and nothing is half made`,
			{
				needs,
				timeout: 600_000,
			},
			(t) =>
				withTmpfs((folder) => {
					mkdirs(folder, "source", "target");
					let died = 0;
					let tried = 0;
					for (const scope of scopes) {
						const count = countCalls(operation(name), scope, folder);
						assert.ok(count > 0 || scope === "children");
						for (let index = 1; index <= count; index += scope === "own" ? stride : LONG ? 1 : 3) {
							tried++;
							if (killAt(operation(name), scope, index, number, folder)) died++;
						}
					}
					t.diagnostic(`${died} deaths at ${tried} points`);
					// A creation process may be gone before it comes to a call; the calls of our own are always made.
					assert.ok(died > 0 && (scopes.includes("children") || died === tried));
				}),
		);
	}
}

/** What ends a process while its thread pool is at work. */
const ends: [name: string, end: string, status: number][] = [
	["process.exit", "process.exit(7)", 7],
	["an uncaught exception", "throw new Error('on purpose')", 1],
	["an unhandled rejection", "Promise.reject(new Error('on purpose'))", 1],
];

for (const [name, end, status] of ends) {
	for (const each of ["create", "mountIdmapped, with a targetRoot"].map(operation)) {
		test(
			`${name} in the middle of ${each.name}: nobody lives on, and nothing is half made`,
			{
				needs,
				timeout: 600_000,
			},
			(t) =>
				withTmpfs((folder) => {
					mkdirs(folder, "source", "target");
					const count = countCalls(each, "own", folder);
					let ended = 0;
					for (let index = LONG ? 1 : 3; index <= count; index += LONG ? 1 : count > 10 ? 9 : 3) {
						const death = readDeath(
							supervised(
								`${prelude(each, folder)}
							const given = await prepare();
							setInterval(() => { if (isHeld()) { ${end}; } }, 1);
							arm(${ACTION.hold}, ${SCOPE.own}, ${index}, 300);
							await run(given);
							process.exit(0);`,
							),
						);
						const where = `${each.name}, ${name} at call ${index}`;
						assert.ok([0, status].includes(death.status ?? -1), `${where}: ${death.status} ${death.stderr}`);
						if (death.status === status) ended++;
						checkTargets(folder, death.calls, where);
					}
					t.diagnostic(`${ended} ends in the middle`);
					assert.ok(ended > 0, "none was in the middle");
				}),
		);
	}
}

test(
	"worker.terminate at each call of a creation, a read-back and a mount: nothing is left",
	{
		needs,
		timeout: 600_000,
	},
	(t) =>
		withTmpfs((folder) => {
			mkdirs(folder, "source", "target");
			const index = join(packageForAll(), "dist/src/index.js");
			const { status, stdout, stderr } = supervised(
				`import { Worker } from "node:worker_threads";
			${prelude(operation("create"), folder)}
			const code = \`import { workerData, parentPort } from "node:worker_threads";
				${WORDS.replaceAll("`", "")}
				const userns = await import(${JSON.stringify(index)});
					const bare = userns.UserNamespace.open("/proc/self/fd/" + workerData.fd);
					globalThis.kept = bare;
					const operations = {
						create: () => userns.UserNamespace.create(workerData.map),
						read: () => bare.mapping(),
						mount: () => userns.mountIdmapped({ source: workerData.folder + "/source", target: workerData.folder + "/target", userns: bare }),
						mountBelow: () => userns.mountIdmapped({ source: workerData.folder + "/source", targetRoot: workerData.folder, target: "/target", userns: bare }),
					};
					if (workerData.operation.startsWith("mount")) await bare.mapping();
					arm(${ACTION.hold}, ${SCOPE.own}, workerData.index, 4000);
					globalThis.made = await operations[workerData.operation]();
					parentPort.postMessage("done");\`;
			// Node opens some descriptors of its own for the first worker.
			const first = new Worker("", { eval: true });
			await new Promise((resolve) => first.on("exit", resolve));
			const attached = [];
			const terminated = {};
			for (const [operation, stride] of Object.entries(${JSON.stringify(LONG ? { create: 1, read: 1, mount: 1, mountBelow: 1 } : { create: 8, read: 15, mount: 3, mountBelow: 4 })})) {
				for (let index = 1; index < 500; index += stride) {
					const earlier = state();
					const worker = new Worker(code, { eval: true, workerData: { operation, index, fd: NS.fd, map: MAP, folder: FOLDER } });
					const outcome = await new Promise((resolve, reject) => {
						const timer = setInterval(() => { if (isHeld()) { clearInterval(timer); resolve("held"); } }, 1);
						worker.on("error", reject);
						worker.on("message", () => { clearInterval(timer); resolve("done"); });
					});
					// The end is under way before the call goes on.
					const ended = worker.terminate();
					letGo();
					await ended;
					const { hit } = disarm();
					const left = await leftOver(earlier);
					if (outcome === "held") {
						terminated[operation] = (terminated[operation] ?? 0) + 1;
						if (left.length > 0) attached.push([operation, index, hit, left]);
					}
					if (mountAt(FOLDER + "/target")) userns.unmount(FOLDER + "/target");
					if (hit === undefined) break;
				}
			}
			console.log(JSON.stringify({ attached, terminated }));`,
			);
			assert.equal(status, 0, stderr);
			const { attached, terminated } = JSON.parse(stdout);
			t.diagnostic(JSON.stringify(terminated));
			for (const name of ["create", "read", "mount", "mountBelow"]) assert.ok(terminated[name] > 1, name);
			// Held in the close(2) with which it is told, the very last call, a mount counts as told.
			const untold = attached.filter(([name, , hit]: [string, number, number]) => {
				return !(name === "mountBelow" && callName(hit) === "close");
			});
			assert.deepEqual(untold, []);
		}),
);
