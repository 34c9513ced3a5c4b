import assert from "node:assert/strict";
import { ask } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:6.8", "tool:unshare"] as const;

const CALLS: Readonly<Record<string, string>> = {
	"at once": "userns.mountIdmapped({ ...base, target })",
	"below a root": 'userns.mountIdmapped({ ...base, target: "/", targetRoot: target })',
	"a detached one": "detached.attach(target)",
};

const START = `import { parentPort, workerData } from "node:worker_threads";
	const { url, source, target } = workerData;
	const userns = await import(url);
	const handles = new userns.Handles();
	const base = { source, mapping: "0:100000:65536", handles };
	const detached = await userns.mountIdmapped(base);`;

/** A timer's callback keeps the thread busy, so that its event loop has an undelivered result when it is terminated. */
const worker = (call: string) => `${START}
	setTimeout(async () => {
		${call}.then(() => parentPort.postMessage("delivered"));
		for (let i = 0; i < 200; i++) await null;
		parentPort.postMessage("under way");
		for (const until = Date.now() + 400; Date.now() < until; );
	}, 5);`;

for (const [name, call] of Object.entries(CALLS)) {
	test(`a mount whose result reaches a terminated thread does not stay: ${name}`, { needs }, () =>
		withTmpfs((folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const { heard, left } = ask<{ heard: string[]; left: number }>(
				`import { Worker } from "node:worker_threads";
				import { once } from "node:events";
				import fs from "node:fs";
				const heard = [];
				const workerData = { url: USERNS, source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)} };
				const worker = new Worker(${JSON.stringify(worker(call))}, { eval: true, workerData });
				worker.on("message", (message) => heard.push(message));
				await once(worker, "message");
				await new Promise((next) => setTimeout(next, 150));
				await worker.terminate();
				const left = fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").filter((line) => line.split(" ")[4] === workerData.target).length;
				console.log(JSON.stringify({ heard, left }));`,
				{ prefix: ["unshare", "--mount", "--propagation", "private"] },
			);
			assert.deepEqual({ heard, left }, { heard: ["under way"], left: 0 });
		}),
	);
}

/** The last call of each of these acknowledges the mount: a thread that is terminated earlier has not returned it. */
const LAST: Readonly<Record<string, string>> = {
	mountIdmapped: "mountIdmapped({ ...base, target })",
	"a tree": "mountIdmapped({ ...base, target, recursive: true })",
	"a tree below a shared mount": "mountIdmapped({ ...base, target: shared, recursive: true })",
	"a mount without a map": "mountIdmapped({ source, target, unmap: true })",
	attach: "mountIdmapped(base).then((mount) => mount.attach(target))",
	overlay: 'overlay({ lower: [source, target], target, mapping: "0:100000:65536" })',
};

for (const [name, call] of Object.entries(LAST)) {
	test(
		`the acknowledgement of a mount is the last call before its promise is resolved: ${name}`,
		{
			needs,
		},
		() =>
			withTmpfs((folder) => {
				const [source = "", target = "", shared = ""] = mkdirs(folder, "source", "target", "shared");
				mkdirs(source, "below");
				const answer = ask<{ attached: number[]; last: [string, number] }>(
					`import { createRequire } from "node:module";
				import { execFileSync } from "node:child_process";
				const [source, target, shared] = ${JSON.stringify([source, target, shared])};
				execFileSync("mount", ["-t", "tmpfs", "none", source + "/below"]);
				execFileSync("mount", ["--bind", shared, shared]);
				execFileSync("mount", ["--make-shared", shared]);
				const addon = createRequire(USERNS)(new URL("../../../prebuilds/userns.linux-" + process.arch + ".node", USERNS).pathname);
				const base = { source, mapping: "0:100000:65536" };
				const attached = [];
				let last;
				for (const [name, method] of Object.entries(addon)) {
					addon[name] = (...args) => {
						last = [name, args[0]];
						const answer = method(...args);
						// The first attach is that of the root.
						if (name === "attach") attached.push(args[0]);
						if (name === "mount") answer.then(({ fd }) => attached.push(fd));
						return answer;
					};
				}
				await userns.${call};
				console.log(JSON.stringify({ attached, last }));`,
					{ prefix: ["unshare", "--mount", "--propagation", "private"] },
				);
				assert.deepEqual(answer.last, [answer.last[0], answer.attached[0]]);
				assert.ok(["acknowledge", "close"].includes(answer.last[0]), answer.last[0]);
			}),
	);
}

/** The mount is attached, and its child does not return for a while, as on an overloaded machine. */
const SLOW = ["inject=move_mount:delay_exit=800000", "inject=umount2:delay_enter=200000"];

test(
	"a mount whose child is killed when its thread ends is unmounted, on an overloaded machine too",
	{
		needs: [...needs, "tool:strace"],
	},
	() =>
		withTmpfs((folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const slowly = SLOW.flatMap((inject) => ["-e", inject]);
			const left = ask<number>(
				`import { Worker } from "node:worker_threads";
			import { once } from "node:events";
			import fs from "node:fs";
			const workerData = { url: USERNS, source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)} };
			const at = () => fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").filter((line) => line.split(" ")[4] === workerData.target).length;
			const worker = new Worker(${JSON.stringify(`${START} userns.mountIdmapped({ ...base, target });`)}, { eval: true, workerData });
			for (let i = 0; i < 500 && at() === 0; i++) await new Promise((next) => setTimeout(next, 20));
			await worker.terminate();
			console.log(JSON.stringify(at()));`,
				{
					prefix: [
						"unshare",
						"--mount",
						"--propagation",
						"private",
						"strace",
						"-f",
						"-o",
						"/dev/null",
						...slowly,
					],
				},
			);
			assert.equal(left, 0);
		}),
);
