import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageForAll, root, type ScriptResult, userns } from "../support/child.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { askOrdinary } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const COMMANDS = ["mount", "umount", "create", "exec", "show"];

test("help exits with status 0 and names every command", () => {
	const all = userns("--help");
	assert.equal(all.status, 0);
	for (const command of COMMANDS) {
		assert.match(all.stdout, new RegExp(`^  ${command} `, "m"));
		const help = userns(command, "--help");
		assert.equal(help.status, 0);
		assert.match(help.stdout, new RegExp(`^Usage: userns ${command} `));
		assert.match(help.stdout, /--json/);
	}
});

test("wrong usage exits with status 2 and prints a message and a hint on standard error only", () => {
	const cases: [string[], RegExp][] = [
		[["nonsense"], /unknown command 'nonsense'/],
		[["mount", "--map", "0:1:1", "/tmp"], /missing required argument 'target'/],
		[["help", "nonsense"], /unknown command 'nonsense'/],
		[["nonsense", "--help"], /unknown command 'nonsense'/],
		[["map", "nonsense", "--help"], /unknown command 'nonsense'\nhint: See "userns map --help"/],
		[["help", "map", "nonsense"], /unknown command 'nonsense'/],
		[["map", "draw", "0:1:1", "--json", "--svg", "-"], /--json and --svg - both print the result/],
		[["mount", "/a", "/b"], /none of --map, --owner, --userns and --unmap is given/],
		[["mount", "--map", "auto", "/a", "/b"], /--map auto is for user namespaces only/],
		[["mount", "--map", "0:1:1", "--map-root-only", "/a", "/b"], /--map-root-only needs --recursive/],
		[["mount", "--map", "0:1", "/a", "/b"], /column 4/],
		[["mount", "--map", "u:0:1:1", "/a", "/b"], /uids and gids/],
		[
			["mount", "--map", "0:1:1", "--red-only", "/a", "/b"],
			/unknown option '--red-only' \(Did you mean --read-only\?\)/,
		],
		[["show"], /missing required argument/],
		[["show", "0"], /a pid must be a whole number/],
		[["create", "--map", "0:1:1"], /'--at <path>' not specified/],
		[["create", "--map", "0:1:1", "--at", "/a", "--setgroups", "perhaps"], /Allowed choices are allow, deny/],
	];
	for (const [args, message] of cases) {
		const { status, stdout, stderr } = userns(...args);
		assert.equal(status, 2, `${args.join(" ")}: ${stderr}`);
		if (!args.includes("--json")) assert.equal(stdout, "");
		assert.match(stderr, /^userns: .*\nhint: .*\n$/);
		assert.match(stderr, message);
	}
	const alone = userns();
	assert.equal(alone.status, 2);
	assert.match(alone.stderr, /^Usage: [\s\S]*\nuserns: no command is given\n$/);
	const help = userns("help", "map", "convert").stdout;
	assert.equal(help, userns("map", "convert", "--help").stdout);
	assert.match(help, /^Usage: userns map convert /);
	assert.match(userns("help", "exec", "true").stdout, /^Usage: userns exec /);
});

test("mount, then umount print text and leave no mount", { needs }, () =>
	withTmpfs((folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		writeFileSync(join(source, "file"), "");
		const mounted = userns("mount", "--map", "0:100000:65536", "--read-only", source, target);
		assert.equal(mounted.stderr, "");
		assert.equal(mounted.status, 0);
		assert.match(mounted.stdout, /on disk +visible +IDs\nuid, gid +0–65535 +100000–165535 +65536\n$/);
		assert.equal(statSync(join(target, "file")).uid, 100000);
		assert.ok(mountAt(target)?.options.includes("ro"));
		assert.equal(userns("umount", target).status, 0);
		assert.equal(mountAt(target), undefined);
		const again = userns("umount", target);
		assert.equal(again.status, 1);
		assert.match(again.stderr, /^userns: cannot unmount .*\nhint: Pass the path/);
	}),
);

test("mount --recursive --json and umount --json print one JSON value", { needs }, () =>
	withTmpfs((folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const mounted = JSON.parse(
			userns("mount", "--json", "--recursive", "--map", "1000:0:1", source, target).stdout,
		);
		assert.deepEqual(mounted, {
			source,
			target,
			mountId: mountAt(target)?.id,
			readOnly: false,
			recursive: true,
			mapping: {
				uidMappings: [{ containerID: 1000, hostID: 0, size: 1 }],
				gidMappings: [{ containerID: 1000, hostID: 0, size: 1 }],
			},
		});
		assert.deepEqual(JSON.parse(userns("umount", target, "--json").stdout), {
			path: target,
			kind: "idmapped mount",
		});
	}),
);

test("a failure with --json prints one JSON value with the code, and the message on standard error", {
	needs,
}, () => {
	const { status, stdout, stderr } = userns("mount", "--json", "--map", "0:1:1", "/definitely/not", "/there");
	assert.equal(status, 1);
	const { error } = JSON.parse(stdout);
	assert.equal(error.code, "ERR_USERNS_MOUNT");
	assert.equal(error.errnoCode, "ENOENT");
	assert.equal(error.syscall, "openat2");
	assert.match(stderr, /^userns: cannot mount/);
});

test(
	"create --at pins a namespace that show and nsenter open until umount",
	{ needs: ["linux", "root", "private-mounts", "tool:nsenter"] },
	() =>
		withTmpfs((folder) => {
			const path = join(folder, "ns");
			const created = JSON.parse(
				userns("create", "--map", "u:0:100000:10,g:0:200000:20", "--at", path, "--json").stdout,
			);
			const shown = JSON.parse(userns("show", path, "--json").stdout);
			assert.equal(shown.inode, created.inode);
			assert.equal(shown.inode, statSync(path).ino);
			assert.equal(shown.setgroups, "deny");
			assert.equal(shown.ownerUid, 0);
			assert.deepEqual(shown.mapping, {
				uidMappings: [{ containerID: 0, hostID: 100000, size: 10 }],
				gidMappings: [{ containerID: 0, hostID: 200000, size: 20 }],
			});
			const map = spawnSync(
				"nsenter",
				[`--user=${path}`, "--preserve-credentials", "cat", "/proc/self/gid_map"],
				{ encoding: "utf8" },
			);
			assert.equal(map.stdout.trim().split(/\s+/).join(":"), "0:200000:20");
			const text = userns("show", path).stdout;
			assert.match(
				text,
				/inside +outside +IDs\nuid +0–9 +100000–100009 +10\ngid +0–19 +200000–200019 +20\n$/,
			);
			assert.equal(userns("create", "--map", "0:1:1", "--at", path).status, 1);
			assert.equal(userns("umount", path).status, 0);
			assert.equal(existsSync(path), false);
		}),
);

test("show PID prints the user namespace of a process", { needs: ["linux", "root"] }, () => {
	const shown = JSON.parse(userns("show", `${process.pid}`, "--json").stdout);
	assert.equal(shown.inode, statSync("/proc/self/ns/user").ino);
	assert.equal(shown.parentInode, null);
	if (shown.inode === 0xeffffffd) {
		const text = userns("show", `${process.pid}`).stdout;
		assert.match(text, /^parent +none, because it is the initial user namespace$/m);
	}
	const missing = userns("show", "2147483647");
	assert.equal(missing.status, 1);
	assert.match(missing.stderr, /ESRCH/);
});

test("npm start shows the owners and one namespace for two spellings, and leaves nothing", { needs }, () => {
	const { status, stdout, stderr } = spawnSync(
		process.execPath,
		[join(root, "scripts/start.mjs"), "--in-mount-namespace"],
		{ encoding: "utf8" },
	);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	assert.match(stdout, /package\.json +0:0 +2100000000:2100000000/);
	assert.match(stdout, /note\.txt +33:33 +0:0/);
	assert.match(stdout, /the same namespace: yes/);
	assert.match(stdout, /processes left behind: none/);
	assert.match(stdout, /uid 0 +0 +2100000000:2100000000\n +uid 33 +33 +2100000033:2100000033/);
	for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line);
});

test("npm start as an ordinary user names the parts that it skips and does the rest", {
	needs: ["linux", "ordinary"],
}, () => {
	const { status, stdout, stderr, uid } = askOrdinary<ScriptResult & { uid: number }>(`
		import { spawnSync } from "node:child_process";
		import { fileURLToPath } from "node:url";
		const start = fileURLToPath(new URL("../../../scripts/start.mjs", USERNS));
		const { status, stdout, stderr } = spawnSync(process.execPath, [start, "--in-mount-namespace"], { encoding: "utf8" });
		console.log(JSON.stringify({ status, stdout, stderr, uid: process.getuid() }));`);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	assert.match(stdout, /\n\nLeft out: ID-mapped mounts of this checkout, which need root .*\n$/);
	assert.match(stdout, /the same namespace: yes/);
	assert.match(stdout, /processes left behind: none/);
	assert.match(stdout, new RegExp(`uid 0 +0 +${uid}:`));
	assert.match(stdout, /uid 33 +33 +\d+:\d+/);
});

test("npm start as a user without subordinate IDs says what it skips and what to do", {
	needs: ["linux", "root", "user"],
}, () => {
	const { status, stdout, stderr } = spawnSync(
		process.execPath,
		[join(packageForAll(), "scripts/start.mjs"), "--in-mount-namespace"],
		{ encoding: "utf8", uid: OTHER_UID, gid: OTHER_UID, cwd: "/" },
	);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	assert.match(stdout, /the same namespace: yes/);
	assert.match(stdout, /^Left out: programs as several users, .* because .*\nhint: .*\/etc\/subuid/m);
});
