import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { ask, packageForAll, root, runScript, sh } from "../support/child.ts";
import { hosted } from "../support/ids.ts";
import { freshUser } from "../support/ordinary.ts";
import { supervise } from "../support/supervise.ts";
import { test } from "../support/test.ts";

const LONG = process.env.USERNS_LONG === "1";
const needs = ["linux", "ids"] as const;
const MAP = hosted("0:100:1,5:200:1");

/**
 * Creates and reads mappings until its standard input ends, and prints how often. A wrong result ends it with status 1.
 */
const BUSY = `let times = 0, signals = 0;
	process.on("SIGUSR2", () => { signals++; });
	process.on("SIGCHLD", () => {});
	let over = false;
	process.stdin.on("end", () => { over = true; }).resume();
	console.log("ready");
	while (!over) {
		const ns = await userns.UserNamespace.create("${MAP}");
		const sync = userns.UserNamespace.createSync("${MAP}");
		const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		if ((await bare.mapping()).id !== "${MAP}" || sync.equals(ns)) throw new Error("wrong");
		for (const each of [ns, sync, bare]) each.close();
		times++;
		await new Promise(setImmediate);
	}
	console.log(JSON.stringify({ times, signals }));
	process.exit(0);`;

interface Busy {
	child: ChildProcess;
	end(): Promise<{ times: number; signals: number }>;
}

async function busy(body: string = BUSY, prefix: string[] = []): Promise<Busy> {
	const index = pathToFileURL(join(packageForAll(), "dist/src/library/userns.js"));
	const [command = "", ...args] = [...prefix, process.execPath, "--input-type=module", "-e"];
	const code = `const userns = await import(${JSON.stringify(index)});\n${body}`;
	const child = spawn(command, [...args, code], { stdio: ["pipe", "pipe", "pipe"], detached: true });
	let said = "";
	let complaint = "";
	child.stdout.on("data", (chunk) => {
		said += chunk;
	});
	child.stderr.on("data", (chunk) => {
		complaint += chunk;
	});
	const closed = once(child, "close");
	while (!said.includes("ready")) {
		assert.equal(child.exitCode, null, complaint);
		await sleep(5);
	}
	return {
		child,
		async end() {
			child.stdin.end();
			const [status] = (await closed) as [number];
			assert.equal(status, 0, complaint);
			return JSON.parse(said.slice(said.indexOf("{")));
		},
	};
}

test("a storm of signals does not change any result", { needs }, async () => {
	const { child, end } = await busy();
	const until = Date.now() + (LONG ? 30_000 : 1500);
	let sent = 0;
	while (Date.now() < until) {
		for (let i = 0; i < 50; i++) {
			child.kill(i % 2 === 0 ? "SIGUSR2" : "SIGCHLD");
			sent++;
		}
		await new Promise(setImmediate);
	}
	const { times, signals } = await end();
	assert.ok(sent > 1000 && signals > 50, `${sent} sent, ${signals} of one kind came`);
	assert.ok(times > 5, `${times} rounds`);
});

test("a process that is stopped and continued during creations goes on", { needs }, async () => {
	const { child, end } = await busy();
	for (let i = 0; i < (LONG ? 1000 : 40); i++) {
		child.kill("SIGSTOP");
		await sleep(i % 7);
		child.kill("SIGCONT");
		await sleep(i % 5);
	}
	const { times } = await end();
	assert.ok(times > 1, `${times} rounds`);
});

test("SIGINT to the process group during 50 creations leaves no process", {
	needs: ["linux", "root", "tool:cc"],
	timeout: 600_000,
}, async () => {
	const endless = `console.log("ready");
		for (;;) await Promise.all(Array.from({ length: 50 }, async () => (await userns.UserNamespace.create("${MAP}")).close()));`;
	for (let round = 0; round < (LONG ? 20 : 4); round++) {
		// The supervisor adopts the children when the process ends; one that still runs makes the status 99.
		const { child } = await busy(endless, [supervise()]);
		const closed = once(child, "close");
		await sleep(10 + (round % 8) * 7);
		process.kill(-(child.pid as number), "SIGINT");
		assert.deepEqual(await closed, [130, null]);
	}
});

test("every operation works with SIGCHLD ignored, and so do programs in a namespace", { needs }, () => {
	const answer = ask<{ id: string; status: number }>(
		`const ns = await userns.UserNamespace.create("${MAP}");
		const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		const id = bare.mappingSync().id;
		const child = ns.spawn("true", { stdio: "ignore" });
		const status = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
		console.log(JSON.stringify({ id, status }));`,
		{ prefix: ["sh", "-c", 'trap "" CHLD; exec "$@"', "sh"] },
	);
	assert.deepEqual(answer, { id: MAP, status: 0 });
});

/** Runs the body with a library that reaps every child of the process. */
async function withReaper(body: (library: string) => void): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-reaper-"));
	try {
		sh("chmod", "755", folder);
		const library = join(folder, "reaper.so");
		sh(
			"cc",
			"-O2",
			"-shared",
			"-fPIC",
			"-pthread",
			"-o",
			library,
			join(root, "test/support/programs/reaper.c"),
		);
		body(library);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** Comes after the libraries that this process preloads, because a sanitizer's library must be the first. */
function preloaded(library: string): string {
	return [process.env.LD_PRELOAD, library].filter((each) => each).join(":");
}

test(
	"every operation works while a library reaps every child of the process",
	{
		needs: [...needs, "tool:cc"],
	},
	() =>
		withReaper((library) => {
			const { status, stdout, stderr } = runScript(
				`import fs from "node:fs";
			let right = 0;
			for (let i = 0; i < ${LONG ? 5000 : 300}; i++) {
				const ns = i % 2 ? await userns.UserNamespace.create("${MAP}") : userns.UserNamespace.createSync("${MAP}");
				const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
				if (i % 2 || bare.mappingSync().id === "${MAP}") right++;
				ns.close(); bare.close();
			}
			console.log(JSON.stringify({ right, open: fs.readdirSync("/proc/self/fd").length < 40 }));`,
				{ env: { LD_PRELOAD: preloaded(library) }, timeout: 600_000 },
			);
			assert.equal(status, 0, stderr);
			assert.deepEqual(JSON.parse(stdout), { right: LONG ? 5000 : 300, open: true });
			assert.ok(
				Number(/^reaper: (\d+)$/m.exec(stderr)?.[1]) > 0,
				"the library reaped no child, so this shows nothing",
			);
		}),
);

test(
	"the map that newuidmap wrote counts, although a library reaps newuidmap",
	{
		needs: ["linux", "root", "ordinary", "tool:cc"],
	},
	() =>
		withReaper((library) => {
			const { options } = freshUser();
			// The library is not for the shell of the set-up, which waits for its own children.
			const prefix = [...(options.prefix ?? []), "/usr/bin/env", `LD_PRELOAD=${preloaded(library)}`];
			const { status, stdout, stderr } = runScript(
				`let right = 0;
			for (let i = 0; i < 20; i++) {
				const ns = await userns.UserNamespace.create("0:200000:1000");
				if (userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mappingSync().id === "0:200000:1000") right++;
				ns.close();
			}
			const refused = await userns.UserNamespace.create("0:900000:5").catch((e) => e);
			const own = userns.Mapping.rootless().id;
			console.log(JSON.stringify({ right, refused: refused.code, own }));`,
				{ ...options, prefix, timeout: 40_000 },
			);
			assert.equal(status, 0, stderr);
			const { right, refused, own } = JSON.parse(stdout);
			assert.equal(right, 20);
			assert.match(refused, /^ERR_USERNS_(NOT_DELEGATED|MAPPING_DIFFERS)$/);
			// The result is in files, because Node does not learn that a program has ended if the library reaps it.
			assert.match(own, /:200000:65536/);
			assert.ok(Number(/^reaper: (\d+)$/m.exec(stderr)?.[1]) > 0);
		}),
);
