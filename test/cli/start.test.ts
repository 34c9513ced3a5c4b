import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { packageForAll, root } from "../support/child.ts";
import { askOrdinary } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

/** A module that starts a child, as the build leaves one of the bundler's, and ends it with the process. */
const WITH_CHILD = `data:text/javascript,${encodeURIComponent(
	'import { spawn } from "node:child_process"; const child = spawn("sleep", ["60"], { stdio: "ignore" }); child.unref(); process.on("exit", () => child.kill());',
)}`;

interface Main {
	status: number;
	stdout: string;
	stderr: string;
}

/** The part of npm start that shows what the package does, for a script of an ordinary user. */
const SHOW = `
	import { spawnSync } from "node:child_process";
	import { fileURLToPath } from "node:url";
	const start = fileURLToPath(new URL("../../scripts/start.mjs", USERNS));
	const { status, stdout, stderr } = spawnSync(process.execPath, [start, "--in-mount-namespace"], { encoding: "utf8" });
	console.log(JSON.stringify({ status, stdout, stderr }));`;

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

test("npm start as an ordinary user with subordinate IDs shows a file on an own tmpfs with another owner", {
	needs: ["linux", "ordinary", "linux:6.3"],
}, () => {
	const { status, stdout, stderr } = askOrdinary<Main>(SHOW);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	assert.match(stdout, /\n {2}note\.txt +0:0 +1000:1000\n$/);
	assert.doesNotMatch(stdout, /left out/);
});

test("npm start ends with 0 and says why where an ordinary user may create no user namespace", {
	needs: ["linux", "root", "tool:setpriv"],
}, () => {
	const inside = `echo 0 >/proc/sys/user/max_user_namespaces
exec setpriv --reuid=1000 --regid=1000 --keep-groups "$0" "$1" --in-mount-namespace`;
	const folder = packageForAll();
	const program = ["sh", "-c", inside, process.execPath, join(folder, "scripts/start.mjs")];
	const args = ["exec", "--map", "0:2100000000:65536", "--", ...program];
	const command = join(folder, "dist/src/cli/userns.cjs");
	const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], {
		cwd: "/",
		encoding: "utf8",
	});
	assert.equal(stderr, "");
	assert.equal(status, 0);
	assert.match(stdout, /\nUser namespaces are left out: .*\nhint: .*\n$/);
});
