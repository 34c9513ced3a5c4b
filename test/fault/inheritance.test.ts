import assert from "node:assert/strict";
import { ask } from "../support/child.ts";
import { test } from "../support/test.ts";

const SECONDS = process.env.USERNS_LONG === "1" ? 20 : 1;

test("a child that another thread starts during exec() inherits no namespace descriptor", {
	needs: ["linux", "root"],
}, () => {
	// The program does not exist: execve(2) returns to the add-on, and the script repeats the moment.
	const { children, inherited, attempts } = ask<Record<string, number>>(
		`import { createRequire } from "node:module";
		import { fileURLToPath } from "node:url";
		import { Worker } from "node:worker_threads";
		const addon = createRequire(USERNS)(fileURLToPath(new URL("../../../prebuilds/userns.linux-" + process.arch + ".node", USERNS)));
		const ns = userns.UserNamespace.createSync("0:100000:10");
		const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(\`
			const { spawnSync } = await import("node:child_process");
			let children = 0, inherited = 0;
			for (const end = Date.now() + ${SECONDS * 1000}; Date.now() < end || children < 10; children++) {
				const { stdout } = spawnSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" });
				if (stdout.includes("user:[")) inherited++;
			}
			(await import("node:worker_threads")).parentPort.postMessage({ children, inherited });\`)));
		let report;
		worker.on("message", (message) => { report = message; });
		let attempts = 0;
		while (report === undefined) {
			for (let i = 0; i < 50; i++, attempts++) {
				const copy = ns.dup();
				if (addon.execSelf(["x".repeat(200_000)], [], [copy.fd], 3).error !== -7) throw new Error("not E2BIG");
				copy.close();
			}
			await new Promise((resolve) => setImmediate(resolve));
		}
		console.log(JSON.stringify({ ...report, attempts }));`,
	);
	assert.ok((children ?? 0) >= 10 && (attempts ?? 0) >= 100, `${children} children, ${attempts} attempts`);
	assert.equal(inherited, 0);
});
