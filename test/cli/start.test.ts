import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { askOrdinary } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

/** A module that starts a child, as the build leaves one of the bundler's, and ends it with the process. */
const WITH_CHILD = `data:text/javascript,${encodeURIComponent(
	'import { spawn } from "node:child_process"; const child = spawn("sleep", ["60"], { stdio: "ignore" }); child.unref(); process.on("exit", () => child.kill());',
)}`;

interface Main {
	status: number;
	stdout: string;
}

test("npm start as root does not count a child that the build left", {
	needs: ["linux", "root", "mounts"],
}, () => {
	const { status, stdout } = spawnSync(
		process.execPath,
		["--import", WITH_CHILD, join(root, "scripts/start.mjs"), "--in-mount-namespace"],
		{ encoding: "utf8" },
	);
	assert.match(stdout, /processes left behind: none/);
	assert.equal(status, 0);
});

test("npm start as an ordinary user does not count a child that the build left", {
	needs: ["linux", "ordinary"],
}, () => {
	const { status, stdout } = askOrdinary<Main>(`
		import { spawnSync } from "node:child_process";
		import { fileURLToPath } from "node:url";
		const start = fileURLToPath(new URL("../../scripts/start.mjs", USERNS));
		const { status, stdout } = spawnSync(process.execPath, ["--import", ${JSON.stringify(WITH_CHILD)}, start, "--in-mount-namespace"], { encoding: "utf8" });
		console.log(JSON.stringify({ status, stdout }));`);
	assert.match(stdout, /processes left behind: none/);
	assert.equal(status, 0);
});
