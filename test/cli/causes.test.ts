import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageForAll } from "../support/child.ts";
import { test } from "../support/test.ts";

/* The errors of the command to a user who lacks a privilege, or to whom /proc is missing. */

const needs = ["linux", "root", "mounts", "tool:unshare", "tool:setpriv"] as const;
const USER = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];

function output(prefix: readonly string[], ...args: string[]): string {
	const command = [...prefix, process.execPath, join(packageForAll(), "dist/src/cli/userns.js"), ...args];
	const { stdout, stderr } = spawnSync(command[0] as string, command.slice(1), {
		encoding: "utf8",
		cwd: "/",
	});
	return stdout + stderr;
}

for (const map of ["0:2100000000:65536", "auto", "keep-id", "0:54321:1"]) {
	test(`an ordinary user who pins with --map ${map} is told about the privilege, and not about the mapping`, {
		needs,
	}, () => {
		const text = output(USER, "create", "--map", map, "--at", "/run/userns-none");
		assert.match(text, /^userns: cannot pin a user namespace at "\/run\/userns-none": /);
		assert.match(text, /\nhint: Run it as root: this process has uid 54321 and lacks CAP_SYS_ADMIN/);
		assert.doesNotMatch(text, /subuid|newuidmap/);
	});
}

test("an ordinary user who mounts gets the EPERM of the mount, and nothing about /etc/subuid", {
	needs,
}, () => {
	for (const map of ["0:2100000000:65536", "1000:0:1"]) {
		for (const args of [
			["mount", "/tmp", "/mnt"],
			["overlay", "--lower", "/tmp", "--lower", "/usr", "/mnt"],
		]) {
			const [command = "", ...rest] = args;
			const text = output(USER, command, "--map", map, ...rest);
			assert.match(text, /copying the source's mount: EPERM/);
			assert.match(text, /\nhint: Run it as root: this process has uid 54321 and lacks CAP_SYS_ADMIN/);
			assert.doesNotMatch(text, /subuid|newuidmap/);
		}
	}
});

test("a program in a directory that the caller may not search exists, and the user without a name is told that", {
	needs,
}, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-closed-"));
	try {
		writeFileSync(join(folder, "program"), "#!/bin/sh\n", { mode: 0o755 });
		const text = output(USER, "exec", "--map", "0:54321:1", "--", join(folder, "program"));
		assert.match(
			text,
			/a directory on its path may not be searched\nhint: Let the caller search each directory/,
		);
	} finally {
		rmSync(folder, { recursive: true });
	}
	assert.match(
		output(USER, "exec", "--map", "auto", "--", "true"),
		/hint: As root, give the uid 54321 a login name/,
	);
	const explained = output(USER, "explain", "--as", "0:0", "/etc/passwd");
	assert.match(
		explained,
		/hint: Call "userns explain" as root: without root, the IDs can only be the caller's own/,
	);
});

test("a wrong mapping stays an error of the mapping", { needs }, () => {
	assert.match(output(USER, "create", "--map", "0:1", "--at", "/run/userns-none"), /column/);
});

test("without /proc, the hints of show and map name /proc", { needs }, () => {
	const hidden = [
		"unshare",
		"--mount",
		"--propagation",
		"private",
		"sh",
		"-c",
		'umount -l /proc; exec "$@"',
		"sh",
	];
	for (const args of [
		["show", "/proc/self/ns/user"],
		["map", "draw", "/proc/self"],
		["map", "check", "/proc/1"],
	]) {
		assert.match(output(hidden, ...args), /\nhint: Mount a procfs of this/, args.join(" "));
	}
	// The control: with /proc, the process or the path is the reason.
	assert.match(
		output([], "map", "draw", "/proc/999999999"),
		/hint: Give the pid of a process that has not ended/,
	);
	assert.match(output([], "show", "/nonexistent/userns"), /hint: Check the path: it does not exist/);
});

test("--map auto as root of a user namespace maps the IDs of it, and for keep-id the proposed IDs are mapped and work", {
	needs: [...needs],
}, () => {
	const command = join(packageForAll(), "dist/src/cli/userns.js");
	const inside = ["exec", "--map", "0:100000:2000", "--", process.execPath, command, "exec"];
	const maps = output([], ...inside, "--map", "auto", "--", "cat", "/proc/self/uid_map");
	assert.match(maps, /^ +0 +0 +2000\n$/);
	const text = output([], ...inside, "--map", "keep-id", "--", "true");
	const [, map = ""] = /such as --map (\S+)\.$/m.exec(text) ?? [];
	assert.equal(map, "0:1:1999", text);
	assert.equal(output([], ...inside, "--map", map, "--", "id", "-u"), "0\n");
	// With one ID, this one is left.
	const one = output(["unshare", "--user", "--map-root-user"], "exec", "--map", "keep-id", "--", "true");
	assert.match(one, /such as --map 0:0:1\.$/m);
	assert.match(output([], "exec", "--map", "keep-id", "--", "true"), /such as --map 0:2100000000:65536/);
});
