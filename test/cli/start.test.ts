import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { packageForAll, root } from "../support/child.ts";
import { askAs, askOrdinary, freshUser } from "../support/ordinary.ts";
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

/** Runs scripts/start.mjs in the copy of the package that every user can read, as the body of a script of ask(). */
function start(...flags: string[]): string {
	return `
		import { spawnSync } from "node:child_process";
		import { fileURLToPath } from "node:url";
		const start = fileURLToPath(new URL("../../../scripts/start.mjs", USERNS));
		const args = [...${JSON.stringify(flags)}, start, "--in-mount-namespace"];
		const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
		console.log(JSON.stringify({ status, stdout, stderr }));`;
}

test("npm start as an ordinary user does not count a child that the build left, and shows an ID-mapped tmpfs", {
	needs: ["linux", "ordinary", "linux:6.3", "tool:mount"],
}, () => {
	const { status, stdout, stderr } = askOrdinary<Main>(start("--import", WITH_CHILD));
	assert.equal(stderr, "");
	assert.match(stdout, /processes left behind: none/);
	assert.match(stdout, /^ {2}uid 33 +33 +\d+:\d+$/m);
	assert.match(stdout, /^ {2}note\.txt +33:33 +0:0$/m);
	assert.match(stdout, /\n\nLeft out: ID-mapped mounts of this checkout, which need root .*\n$/);
	assert.equal(status, 0);
});

test("npm start as a user without subordinate IDs ends with 0, and says in one line what is left out, with a hint", {
	needs: ["linux", "root", "ordinary"],
}, () => {
	const { status, stdout, stderr } = askAs<Main>(freshUser({ subuid: [], subgid: [] }), start());
	assert.equal(stderr, "");
	assert.match(stdout, /processes left behind: none/);
	assert.match(
		stdout,
		/\n\nLeft out: programs as several users, ID-mapped mounts, because the user \S+ has no subordinate uids in \/etc\/subuid and no subordinate gids in \/etc\/subgid\.\nhint: .*\n$/,
	);
	assert.equal(status, 0);
});

/** A user namespace with a limit of its own, in which another user then runs the script. */
const FORBIDDEN = `echo 0 > /proc/sys/user/max_user_namespaces
exec setpriv --reuid=4321 --regid=4321 --clear-groups "$0" "$1" --in-mount-namespace`;

test("npm start on a machine without user namespaces for ordinary users ends with 0, and gives the reason", {
	needs: ["linux", "root", "tool:setpriv"],
}, () => {
	const script = join(packageForAll(), "scripts/start.mjs");
	const inside = ["sh", "-c", FORBIDDEN, process.execPath, script];
	const command = join(packageForAll(), "dist/src/cli/userns.js");
	const { status, stdout, stderr } = spawnSync(
		command,
		["exec", "--map", "0:0:70000", "--setgroups", "allow", "--", ...inside],
		{
			encoding: "utf8",
		},
	);
	assert.equal(stderr, "");
	assert.match(
		stdout,
		/^\nLeft out: user namespaces, programs as several users, ID-mapped mounts, because .*\nhint: .*\n$/,
	);
	assert.equal(status, 0);
});
