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

/** Each point takes a whole process: the long form tries every point, and the short form the most telling ones. */
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
	/** Whether the process came to the point at all. */
	reached: boolean;
	/** The calls that were made before. */
	calls: string[];
	/** How many calls of move_mount(2) were made in any process, and how many after the end of the process. */
	attached: number;
	late: number;
	stderr: string;
}

function readDeath({ status, stderr }: { status: number | null; stderr: string }): Death {
	const [, not, numbers = ""] = /^supervise: (not )?reached after(.*)$/m.exec(stderr) ?? [];
	const [, attached, late] = /^supervise: (\d+) attached, (\d+) of them late$/m.exec(stderr) ?? [];
	const calls = numbers.split(" ").filter(Boolean).map(Number).map(callName);
	return {
		status,
		reached: numbers !== undefined && not === undefined && /supervise:/.test(stderr),
		calls,
		attached: Number(attached),
		late: Number(late),
		stderr,
	};
}

/** The target is unchanged, or wholly as requested, and the latter only if the attaching call was made. */
function checkTargets(folder: string, death: Death, where: string, before = ""): void {
	assert.equal(death.late, 0, `${where}: a child attached after the end`);
	const target = join(folder, "target");
	const mount = mountAt(target);
	if (mount !== undefined) {
		const asked = death.attached > 0 || before.includes("mountIdmapped");
		assert.ok(asked, `${where}: attached, and the call was not made`);
		assert.ok(mount.options.includes("idmapped") && mount.options.includes("ro"), `${where}: half made`);
		sh("umount", target);
		assert.equal(mountAt(target), undefined, `${where}: more than one mount`);
	}
	const pinned = join(folder, "pinned");
	const file = lstatSync(pinned, { throwIfNoEntry: false });
	if (file === undefined) return;
	if (mountAt(pinned) !== undefined) {
		assert.ok(death.attached > 0, `${where}: pinned, and the call was not made`);
		assert.equal(mountAt(pinned)?.type, "nsfs");
		sh("umount", pinned);
	}
	assert.equal(lstatSync(pinned).size, 0);
	rmSync(pinned);
}

/** Kills the process at a call. Status 99 means that one of its processes still runs three seconds later. */
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
	checkTargets(folder, death, where, each.before);
	return death.reached && death.status === 128 + signal;
}

const deaths: [name: string, scopes: (keyof typeof SCOPE)[], stride: number][] = [
	["createSync", ["own", "children"], STRIDE],
	["create", ["own"], LONG ? 1 : 8],
	["reading back", ["own", "children"], LONG ? 1 : 10],
	["mountIdmapped", ["own", "children"], LONG ? 1 : 3],
	["mountIdmapped, with a targetRoot", ["own", "children"], LONG ? 1 : 3],
	["IdmappedMount.unmount", ["own", "children"], STRIDE],
	["pin", ["own", "children"], LONG ? 1 : 2],
];

for (const [name, scopes, stride] of deaths) {
	const signals = Object.entries(SIGNALS).filter(([signal]) => LONG || signal === "SIGKILL");
	for (const [signal, number] of signals) {
		test(
			`${signal} at each call of ${name}: no process stays, and nothing is half made`,
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
					// A creation process may end before it makes a call; the calls of the caller are always made.
					assert.ok(died > 0 && (scopes.includes("children") || died === tried));
				}),
		);
	}
}

/** Ways in which a process ends while its thread pool works. */
const ends: [name: string, end: string, status: number][] = [
	["process.exit", "process.exit(7)", 7],
	["an uncaught exception", "throw new Error('on purpose')", 1],
	["an unhandled rejection", "Promise.reject(new Error('on purpose'))", 1],
];

/** Ends the process while a call is held. Returns true if the caller had no result before that. */
function endAt(
	each: Operation,
	scope: keyof typeof SCOPE,
	index: number,
	end: string,
	status: number,
	folder: string,
): boolean {
	const death = readDeath(
		supervised(
			`${prelude(each, folder)}
			const given = await prepare();
			setInterval(() => { if (isHeld()) { ${end}; } }, 1);
			arm(${ACTION.hold}, ${SCOPE[scope]}, ${index}, 300);
			await run(given);
			process.exit(0);`,
		),
	);
	const where = `${each.name}, ${end} at call ${index} (${scope})`;
	assert.ok([0, status].includes(death.status ?? -1), `${where}: ${death.status} ${death.stderr}`);
	if (death.status === status) {
		// replace leaves no bare target: the old mount is on top, or the new one replaces it.
		const replaces = each.name.endsWith("with replace");
		for (const path of ["target", "pinned"]) {
			const there = mountAt(join(folder, path)) !== undefined;
			assert.equal(there, replaces && path === "target", `${where}: ${path} ${there ? "attached" : "bare"}`);
		}
		while (replaces && mountAt(join(folder, "target"))) sh("umount", join(folder, "target"));
	}
	checkTargets(folder, death, where);
	return death.status === status;
}

/** Some of the calls at which a process ends: the first, the last, and some between them. */
function chosen(count: number): number[] {
	const all = Array.from({ length: count }, (_, i) => i + 1);
	return all.filter((index) => LONG || (count - index) % Math.max(1, Math.floor(count / 4)) === 0);
}

for (const [name, end, status] of ends) {
	for (const each of [
		"create",
		"mountIdmapped",
		"mountIdmapped, with a targetRoot",
		"mountIdmapped, with replace",
		"pinAsync",
	].map(operation)) {
		// All three end with exit(3), so the short form tries the other operations with one of them.
		if (!LONG && name !== "process.exit" && !["create", "mountIdmapped"].includes(each.name)) continue;
		test(
			`${name} during ${each.name}: no process stays, and no mount that the caller has no result of`,
			{
				needs: [...needs, ...(each.needs ?? [])],
				timeout: 600_000,
			},
			(t) =>
				withTmpfs((folder) => {
					mkdirs(folder, "source", "target");
					let ended = 0;
					for (const scope of each.scopes) {
						// A creation process may end at any time, so the caller's calls are enough.
						if (each.name === "create" && scope !== "own") continue;
						for (const index of chosen(countCalls(each, scope, folder))) {
							if (endAt(each, scope, index, end, status, folder)) ended++;
						}
					}
					t.diagnostic(`${ended} ends in the middle`);
					assert.ok(ended > 0, "none was in the middle");
				}),
		);
	}
}

/** What ends, during which operation, and at which of its calls. */
const terminations: [name: string, scope: number, stride: number][] = [
	["create", SCOPE.own, LONG ? 1 : 8],
	["read", SCOPE.own, LONG ? 1 : 15],
	["mount", SCOPE.own, LONG ? 1 : 3],
	["mount", SCOPE.children, LONG ? 1 : 3],
	["mountBelow", SCOPE.own, LONG ? 1 : 4],
	["mountBelow", SCOPE.children, LONG ? 1 : 4],
	["pin", SCOPE.own, LONG ? 1 : 8],
	["pin", SCOPE.children, LONG ? 1 : 8],
];

test(
	"worker.terminate at each call of a creation, a read-back, a mount and a pin leaves nothing",
	{
		needs,
		timeout: 600_000,
	},
	(t) =>
		withTmpfs((folder) => {
			mkdirs(folder, "source", "target");
			const index = join(packageForAll(), "dist/src/library/userns.js");
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
						pin: () => userns.pinAsync(bare, workerData.folder + "/pinned"),
					};
					if (workerData.operation.startsWith("mount")) await bare.mapping();
					arm(${ACTION.hold}, workerData.scope, workerData.index, 4000);
					globalThis.made = await operations[workerData.operation]();
					parentPort.postMessage("done");\`;
			// Node opens some additional descriptors for the first worker.
			const first = new Worker("", { eval: true });
			await new Promise((resolve) => first.on("exit", resolve));
			const attached = [];
			const terminated = {};
			for (const [operation, scope, stride] of ${JSON.stringify(terminations)}) {
				for (let index = 1; index < 500; index += stride) {
					const earlier = state();
					const worker = new Worker(code, { eval: true, workerData: { operation, scope, index, fd: NS.fd, map: MAP, folder: FOLDER } });
					const outcome = await new Promise((resolve, reject) => {
						const timer = setInterval(() => { if (isHeld()) { clearInterval(timer); resolve("held"); } }, 1);
						worker.on("error", reject);
						worker.on("message", () => { clearInterval(timer); resolve("done"); });
					});
					// Waits until the termination has begun, and then releases the call.
					const ended = worker.terminate();
					letGo();
					await ended;
					const { hit } = disarm();
					const left = await leftOver(earlier);
					if (outcome === "held") {
						const key = operation + scope;
						terminated[key] = (terminated[key] ?? 0) + 1;
						if (left.length > 0) attached.push([operation, index, hit, left]);
					}
					if (mountAt(FOLDER + "/target")) userns.unmount(FOLDER + "/target");
					if (mountAt(FOLDER + "/pinned")) userns.unmount(FOLDER + "/pinned");
					// The file of a pin is not a mount: it may stay.
					fs.rmSync(FOLDER + "/pinned", { force: true });
					if (hit === undefined) break;
				}
			}
			console.log(JSON.stringify({ attached, terminated }));`,
			);
			assert.equal(status, 0, stderr);
			const { attached, terminated } = JSON.parse(stdout);
			t.diagnostic(JSON.stringify(terminated));
			for (const [name, scope] of terminations)
				assert.ok(terminated[`${name}${scope}`] > 1, `${name} ${scope}`);
			// A mount counts as acknowledged if the worker ends in the close(2) that acknowledges it, which is the very
			// last call.
			const acknowledged = new Set<string>();
			const unacknowledged = attached.filter(([name, , hit]: [string, number, number]) => {
				if (acknowledged.has(name) || !["mountBelow", "pin"].includes(name)) return true;
				acknowledged.add(name);
				return callName(hit) !== "close";
			});
			assert.deepEqual(unacknowledged, []);
		}),
);
