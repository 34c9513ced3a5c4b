import assert from "node:assert/strict";
import { ask } from "../support/child.ts";
import { test } from "../support/test.ts";

const MOUNTS = 500;

test("mounts without a close() leave nothing in memory and no descriptor", {
	needs: ["linux:6.3", "root", "mounts", "path:/mnt", "tool:unshare"], // a tmpfs is mapped
}, () => {
	const { mappings, descriptors } = ask<{ mappings: number; descriptors: number }>(
		`import fs from "node:fs";
		import v8 from "node:v8";
		import { execFileSync } from "node:child_process";
		process.removeAllListeners("warning");
		const count = () => fs.readdirSync("/proc/self/fd").length;
		const before = count();
		const ns = await userns.UserNamespace.create("0:1:1");
		for (let i = 0; i < ${MOUNTS}; i++) {
			// Each mapping is a separate object, so that the objects can be counted.
			await userns.mountIdmapped({ source: "/mnt", mapping: "0:" + (i + 1) + ":1" });
			if (i % 50 === 49) { gc(); await new Promise((resolve) => setTimeout(resolve, 5)); }
		}
		gc();
		await new Promise((resolve) => setTimeout(resolve, 20));
		ns.close();
		const mappings = v8.queryObjects(userns.Mapping, { format: "count" });
		console.log(JSON.stringify({ mappings, descriptors: count() - before }));`,
		{
			nodeFlags: ["--expose-gc", "--no-warnings"],
			prefix: [
				...["unshare", "--mount", "--propagation", "private"],
				...["sh", "-c", 'mount -t tmpfs x /mnt && exec "$@"', "sh"],
			],
		},
	);
	assert.ok(descriptors < 70, `${descriptors} descriptors are left`);
	assert.ok(mappings < 200, `${mappings} mappings are remembered`);
});
