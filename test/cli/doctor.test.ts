import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { packageForAll } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/* The command around doctor(), which test/system/doctor.test.ts tests. */

const needs = ["linux", "root", "mounts", "tool:setpriv", "linux:6.3"] as const;
const USER = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];

interface Run {
	status: number | null;
	stdout: string;
	stderr: string;
}

function doctor(prefix: readonly string[], ...args: string[]): Run {
	const main = join(packageForAll(), "dist/src/cli/userns.js");
	const [command = "", ...rest] = [...prefix, process.execPath, main, "doctor", ...args];
	return spawnSync(command, rest, { encoding: "utf8", cwd: "/" });
}

test("a line for each check, and the status is that of the job", { needs }, () => {
	const ok = doctor([]);
	assert.equal(ok.stderr, "");
	assert.match(
		ok.stdout,
		/^ok +user namespaces: .*\nok +programs inside: .*\nok +many IDs: .*\nok +ID-mapped mounts: .*\n$/,
	);
	assert.equal(ok.status, 0);

	const user = doctor(USER);
	assert.equal(user.status, 0, "programs can be started");
	assert.match(user.stdout, /^missing +ID-mapped mounts: .*lacks CAP_SYS_ADMIN.*\n +fix: Run it as root\n$/m);
	for (const [job, status] of [
		["spawn", 0],
		["rootless", 1],
		["mount", 1],
	] as const) {
		assert.equal(doctor(USER, "--for", job).status, status, job);
		assert.equal(doctor([], "--for", job).status, 0, job);
	}
	assert.equal(doctor([], "--for", "x").status, 2);
	assert.equal(doctor([], "a", "b").status, 2);
});

test("--json has the result of doctor(), with the words of the command", { needs }, () => {
	const { status, stdout, stderr } = doctor(USER, "--for", "mount", "--json");
	assert.deepEqual([status, stderr], [1, ""]);
	const { ok, causes, checks } = JSON.parse(stdout);
	assert.equal(ok, false);
	assert.deepEqual(Object.keys(causes[0]), ["id", "message", "evidence", "consequence", "fix"]);
	assert.deepEqual(
		checks.map(({ name, state }: Record<string, string>) => [name, state]),
		[
			["namespaces", "ok"],
			["mounts", "missing"],
		],
	);
});

test("with a path that cannot be mapped, the mounts are missing, and the status is 1", {
	needs,
}, () => {
	const other = doctor([], "/proc");
	assert.match(
		other.stdout,
		/^missing +ID-mapped mounts: \/proc \(proc at \/proc\): the kernel cannot map mounts of this proc/m,
	);
	assert.equal(other.status, 1, "a path is a question about its mount");
	assert.equal(doctor([], "--for", "mount", "/proc").status, 1);
	for (const job of ["spawn", "rootless"]) {
		const { status, stderr } = doctor([], "--for", job, "/proc");
		assert.equal(status, 2);
		assert.match(stderr, /a path says nothing about --for/);
	}
});

test("a path that cannot be opened is an error and no answer about its mount", { needs }, () =>
	withTmpfs((folder) => {
		symlinkSync("loop", join(folder, "loop"));
		for (const [path, reason] of [
			["/nonexistent", /opening the source: ENOENT .*\nhint: Check the path: it does not exist\.\n$/],
			["/etc/passwd/x", /opening the source: ENOTDIR /],
			[join(folder, "loop"), /following a symbolic link: ELOOP /],
		] as const) {
			for (const args of [[path], ["--for", "mount", path]]) {
				const { status, stdout, stderr } = doctor([], ...args);
				assert.deepEqual([status, stdout], [2, ""], stderr);
				assert.match(stderr, /^userns: cannot test whether ".*" can be ID-mapped: /);
				assert.match(stderr, reason);
			}
			const { status, stdout } = doctor([], path, "--json");
			assert.equal(status, 2);
			assert.equal(JSON.parse(stdout).error.code, "ERR_USERNS_MOUNT");
		}
	}),
);

test("--error finds the cause of another program's error, in an argument or on standard input", {
	needs,
}, () => {
	const line = "newuidmap: uid range [0-1) -> [5-6) not allowed";
	const refused = doctor(USER, "--error", line);
	assert.deepEqual([refused.status, refused.stderr], [1, ""]);
	const found = `${line}\nmissing  many IDs: /etc/subuid gives the user 54321 no uids, and the uids 5 are not among them\n         fix: Use the user's own uid 54321\n`;
	assert.equal(refused.stdout, found);
	const piped = ["sh", "-c", `printf 'some line\\n${line}\\n' | "$@"`, "sh", ...USER];
	const { status, stdout } = doctor(piped, "--error", "-");
	assert.deepEqual([status, stdout], [1, found]);
	// After a progress line and in colour, at the end of a long output.
	const long = `head -c 3000000 /dev/zero | tr '\\0' x; printf 'progress\\r\\033[31m${line}\\033[0m\\r\\n'`;
	const ended = doctor(["sh", "-c", `(${long}) | "$@"`, "sh", ...USER], "--error", "-");
	assert.deepEqual([ended.status, ended.stdout], [1, found]);
	const json = doctor(USER, "--error", line, "--json");
	assert.equal(json.status, 1);
	const { line: read, check, causes, hint } = JSON.parse(json.stdout);
	assert.deepEqual(
		[read, check, causes.map(({ id }: { id: string }) => id), hint],
		[line, "ids", ["not-delegated"], "Use the user's own uid 54321."],
	);

	// bwrap failed, and this process is not in its sandbox.
	const bwrap = "bwrap: setting up uid map: Permission denied";
	const works = doctor([], "--error", bwrap);
	assert.equal(works.status, 0);
	assert.match(
		works.stdout,
		/^bwrap: .*\nok +user namespaces: this process can use them\n {9}Call "userns doctor" where the program runs: /,
	);
	const unknown = doctor([], "--error", "Segmentation fault");
	assert.deepEqual([unknown.status, unknown.stdout], [2, ""]);
	assert.match(unknown.stderr, /^userns: no line of the text is a known error of bwrap.*\nhint: Call /);
	for (const more of [["/tmp"], ["--for", "spawn"], ["--try", "/tmp"]]) {
		const { status, stderr } = doctor([], "--error", bwrap, ...more);
		assert.equal(status, 2, stderr);
		assert.match(stderr, /\nhint: /);
	}
});

test("--try finds whether files have the mapped owners, and leaves nothing behind", { needs }, () =>
	withTmpfs((folder) => {
		const [open = "", full = "", owned = ""] = mkdirs(folder, "open", "full", "owned");
		spawnSync("chown", ["1:1", owned]);
		for (const each of [open, owned]) {
			const { status, stdout } = doctor([], "--for", "mount", "--try", each);
			assert.match(stdout, /\nok +files through a map: have the mapped owners in /);
			assert.equal(status, 0);
			assert.deepEqual(readdirSync(each), []);
		}
		// Two inodes: the root of the file system, and the directory of the trial.
		spawnSync("mount", ["-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs", full]);
		const { status, stdout } = doctor([], "--for", "mount", "--try", full, "--json");
		assert.deepEqual(readdirSync(full), []);
		spawnSync("umount", [full]);
		assert.equal(status, 1);
		const { ok, causes } = JSON.parse(stdout);
		assert.equal(ok, false);
		assert.equal(causes[0].id, "map-not-applied");
		assert.match(causes[0].evidence, /^creating a file through the map failed: ENOSPC/);

		const none = doctor([], "--for", "mount", "--try", join(folder, "none"));
		assert.equal(none.status, 2);
		assert.match(none.stderr, /cannot create a directory in .*ENOENT.*\nhint: Name an existing directory/);
		const refused = doctor([], "--for", "mount", "--try", "/proc/self");
		assert.equal(refused.status, 2, "no directory can be made there");
		assert.match(
			refused.stderr,
			/^userns: cannot create a directory in "\/proc\/self": (ENOENT|EPERM|EACCES) /,
		);
	}),
);

test("--try reports a file system that cannot be mapped", { needs: [...needs, "fs:overlay"] }, () =>
	withTmpfs((folder) => {
		const [lower = "", upper = "", work = "", target = ""] = mkdirs(
			folder,
			"lower",
			"upper",
			"work",
			"target",
		);
		const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
		spawnSync("mount", ["-t", "overlay", "-o", options, "overlay", target]);
		const { status, stdout } = doctor([], "--for", "mount", "--try", target, "--json");
		const left = readdirSync(target);
		spawnSync("umount", [target]);
		// Linux 7.3 and later can map an overlay.
		const { causes } = JSON.parse(stdout);
		assert.deepEqual(
			causes.map(({ id }: { id: string }) => id),
			status === 0 ? [] : ["file-system"],
		);
		assert.deepEqual(left, []);
	}),
);
