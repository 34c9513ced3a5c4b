import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask, root, sh } from "../support/child.ts";
import { EXECUTING, withCopy, withLame } from "../support/copies.ts";
import { OTHER_UID, sharedAddress } from "../support/needs.ts";
import { test } from "../support/test.ts";
import { withThief } from "../support/thief.ts";

/*
 * Two copies of the package run in one process, for example two versions in node_modules. Each copy has its own
 * static variables, but the process has one dumpable flag (PR_SET_DUMPABLE, prctl(2)). While a creation process of
 * one copy is alive, the other copy must not make the process dumpable again.
 */

const needs = ["linux", "root", "tool:cc", "tool:setpriv"] as const;
const COUNT = process.env.USERNS_LONG === "1" ? 60_000 : 6000;
/**
 * With this gid, the group of /proc/self/mem shows whether the process is dumpable: its own gid if so, otherwise 0
 * (proc(5)).
 */
const DUMPABLE = OTHER_UID;
const prefix = ["setpriv", `--regid=${DUMPABLE}`, "--clear-groups"];
const GROUP = `const group = () => fs.statSync("/proc/self/mem").gid;`;

interface Robbed {
	seen: number;
	read: number;
	/** How many copies of the add-on the process has mapped. */
	loaded: number;
	/** The group of /proc/self/mem, before and after. */
	groups: [before: number, after: number];
}

/**
 * Creates namespaces with two copies at once, the second one on the main thread or in a worker, while a thief looks for
 * them.
 */
function rob(thief: string, second: string, inWorker: boolean): Robbed {
	return ask(
		`import fs from "node:fs";
		import { spawn } from "node:child_process";
		import { once } from "node:events";
		import { Worker } from "node:worker_threads";
		${GROUP}
		const before = group();
		const make = (copy) => copy.UserNamespace.create("0:100000:10").then((ns) => ns.close());
		const run = async (copy, count) => {
			for (let i = 0; i < count; i += 3) await Promise.all([make(copy), make(copy), make(copy)]);
		};
		const worker = ${inWorker} ? new Worker(\`
			import { parentPort } from "node:worker_threads";
			const copy = await import(${JSON.stringify(second)});
			const make = \${make};
			const run = \${run};
			parentPort.on("message", async (count) => {
				if (count === 0) return parentPort.close();
				await run(copy, count);
				parentPort.postMessage("done");
			});\`, { eval: true }) : undefined;
		const other = worker === undefined ? await import(${JSON.stringify(second)}) : undefined;
		const runOther = async (count) => {
			if (other !== undefined) return run(other, count);
			const done = once(worker, "message");
			worker.postMessage(count);
			await done;
		};
		await Promise.all([run(userns, 12), runOther(12)]); // every thread exists before the thief looks for threads
		const maps = fs.readFileSync("/proc/self/maps", "utf8");
		const loaded = new Set(maps.match(/\\/\\S*userns\\.linux-\\w+\\.node$/gm)).size;
		const at = /^([0-9a-f]+)-\\S+ \\S+ 0+ .*userns\\.linux-\\w+\\.node$/m.exec(maps)[1];
		const drop = ["--inh-caps=-all", "--bounding-set=-all"];
		const thief = spawn("setpriv", [...drop, "${thief}", String(process.pid), String(BigInt("0x" + at))], { stdio: ["pipe", "pipe", "inherit"] });
		await once(thief.stdout, "data");
		await Promise.all([run(userns, ${COUNT / 2}), runOther(${COUNT / 2})]);
		thief.stdin.end();
		const [said] = await once(thief.stdout, "data");
		await once(thief, "close");
		worker?.postMessage(0);
		const [seen, read] = String(said).split(" ").map(Number);
		console.log(JSON.stringify({ seen, read, loaded, groups: [before, group()] }));`,
		{ prefix },
	);
}

for (const [where, inWorker] of [
	["on the main thread", false],
	["one of them in a worker", true],
] as const) {
	test(
		`two copies of the package, ${where}: no copy makes the process dumpable during ${COUNT} creations`,
		{
			needs,
			timeout: 600_000,
		},
		() =>
			withThief((thief) =>
				withCopy((second) => {
					const { seen, read, loaded, groups } = rob(thief, second, inWorker);
					assert.equal(loaded, 2, "there are two copies");
					assert.ok(seen > COUNT / 100, `the thief saw ${seen} creation processes`);
					assert.equal(read, 0);
					assert.deepEqual(groups, [DUMPABLE, DUMPABLE], "dumpable again, as it was");
				}),
			),
	);
}

/** The results of a script that creates namespaces with a complete copy, and with a copy that lacks userns-join. */
interface Apart {
	made: string;
	without: string;
	/** The groups of /proc/self/mem: before, during twenty creations, and after. */
	groups: number[];
}

function createApart(without: string, before: string, env: Record<string, string> = {}): Apart {
	return ask(
		`import fs from "node:fs";
		${GROUP}
		const lame = await import(${JSON.stringify(without)});
		const make = (copy) => copy.UserNamespace.create("0:100000:10").then((ns) => { ns.close(); return "made"; }, (error) => error.step);
		${before}
		const groups = new Set([group()]);
		let ended = false;
		const all = Promise.all(Array.from({ length: 20 }, () => make(userns))).finally(() => { ended = true; });
		while (!ended) { groups.add(group()); await new Promise(setImmediate); }
		const made = [...new Set(await all)].join();
		groups.add(group());
		console.log(JSON.stringify({ made, without: await make(lame), groups: [...groups] }));`,
		{ prefix, env },
	);
}

test(
	"a process that other code made undumpable stays so, and a creation does not share its memory",
	{
		needs: [...needs, "shared-page"],
	},
	() =>
		withLame((url) => {
			const { made, without } = createApart(url, "");
			assert.deepEqual([made, without], ["made", "made"], "otherwise it is shared");
			// A change of IDs sets the dumpable flag to fs.suid_dumpable (commit_creds() in kernel/cred.c), which is
			// not 1.
			const by = createApart(url, `process.setegid(1); process.setegid(${DUMPABLE});`);
			assert.deepEqual(by, { made: "made", without: EXECUTING, groups: [0] });
		}),
);

for (const protection of ["PROT_NONE", "PROT_READ | PROT_WRITE"]) {
	test(
		`creations do not share memory if other code has mapped the address that the copies share (${protection})`,
		{
			needs: [...needs, "shared-page"],
		},
		() =>
			withLame((url) => {
				const folder = mkdtempSync(join(tmpdir(), "userns-occupy-"));
				try {
					const library = join(folder, "occupy.so");
					const defines = [`-DADDRESS=${sharedAddress()}`, `-DPROTECTION=${protection}`];
					sh(
						"cc",
						"-shared",
						"-fPIC",
						...defines,
						"-o",
						library,
						join(root, "test/support/programs/occupy.c"),
					);
					const found = createApart(url, "", { LD_PRELOAD: library });
					assert.deepEqual(found, { made: "made", without: EXECUTING, groups: [DUMPABLE] });
				} finally {
					rmSync(folder, { recursive: true });
				}
			}),
	);
}
