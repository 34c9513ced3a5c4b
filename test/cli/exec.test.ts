import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { root, userns } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { askAs, askOrdinary, freshUser } from "../support/ordinary.ts";
import {
	becomes,
	childCalled,
	descriptorsOf,
	ended,
	gone,
	namespaceOf,
	status,
} from "../support/programs.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root"] as const;
const MAIN = join(root, "dist/src/cli/userns.js");
const MAP = "0:100000:65536";

const started: ChildProcess[] = [];
/** So that a test which failed half-way does not wait for ever. */
afterEach(() => {
	for (const child of started.splice(0)) child.kill("SIGKILL");
});

function command(...args: string[]): ChildProcess {
	const child = spawn(process.execPath, [MAIN, "exec", ...args]);
	started.push(child);
	return child;
}

test("the exit status, or the end by a signal, is the program's own", { needs }, async () => {
	for (const code of [0, 1, 2, 7, 125, 255]) {
		assert.equal(userns("exec", "--map", MAP, "--", "sh", "-c", `exit ${code}`).status, code);
	}
	for (const signal of ["SIGTERM", "SIGKILL", "SIGABRT"] as const) {
		const { signal: by } = await ended(command("--map", MAP, "sh", "-c", `kill -${signal.slice(3)} $$`));
		assert.equal(by, signal);
	}
});

test("a signal to the command reaches the program, with and without a pid namespace", {
	needs,
}, async () => {
	for (const unshare of [[], ["--unshare", "pid,mount"]]) {
		const script = 'trap "echo usr1; exit 3" USR1; echo ready; while :; do sleep 0.02; done';
		const child = command("--map", MAP, ...unshare, "--", "sh", "-c", script);
		const end = ended(child);
		await once(child.stdout as NodeJS.ReadableStream, "data");
		child.kill("SIGUSR1");
		const { status: code, stdout } = await end;
		assert.deepEqual([code, stdout], [3, "ready\nusr1\n"]);
	}
});

test("the program replaces the command: one process with three descriptors", { needs }, async () => {
	const child = command("--map", MAP, "--uid", "5", "--gid", "6", "sleep", "1000");
	const end = once(child, "close");
	const pid = child.pid as number;
	await becomes(pid, "sleep");
	assert.equal(status(pid, "Uid"), "100005 100005 100005 100005");
	assert.equal(status(pid, "Gid"), "100006 100006 100006 100006");
	assert.equal(status(pid, "Threads"), "1");
	assert.deepEqual(Object.keys(descriptorsOf(pid)), ["0", "1", "2"]);
	// Node ignores SIGPIPE and SIGXFSZ, and execve(2) keeps what is ignored.
	for (const field of ["SigIgn", "SigBlk"]) assert.equal(status(pid, field), "0".repeat(16), field);
	child.kill("SIGKILL");
	await end;
});

test(
	"the exit status reports a failure also if its texts have no reader, before Node.js is replaced and after",
	{
		needs: [...needs, "mounts", "tool:bash"],
	},
	() =>
		withTmpfs((folder) => {
			const program = join(folder, "words");
			writeFileSync(program, "just words\n", { mode: 0o755 });
			const script = 'exec 3> >(true); wait $!; "$@" >&3 2>&3';
			for (const [name, expected] of [
				["/nonexistent", 127],
				[program, 126],
			] as const) {
				for (const more of [[], ["--json"]]) {
					const args = [process.execPath, MAIN, "exec", "--map", MAP, ...more, name];
					const ended = spawnSync("bash", ["-c", script, "bash", ...args], { encoding: "utf8" });
					assert.deepEqual([ended.status, ended.stdout, ended.stderr], [expected, "", ""], `${name} ${more}`);
				}
			}
		}),
);

test("standard input reaches the program, and options after the program's name are the program's", {
	needs,
}, () => {
	const through = spawnSync(process.execPath, [MAIN, "exec", "--map", MAP, "cat"], {
		input: "x".repeat(200_000),
		encoding: "utf8",
	});
	assert.equal(through.stdout.length, 200_000);
	const echoed = userns("exec", "--map", MAP, "echo", "--uid", "7", "--json", "--help");
	assert.equal(echoed.stdout, "--uid 7 --json --help\n");
});

test("a terminal stays the program's controlling terminal, in blocking mode, and Ctrl-C reaches it", {
	needs: [...needs, "tool:script"],
}, async () => {
	for (const unshare of ["", "--unshare pid"]) {
		const inside =
			'tty; [ -t 0 ] && [ -t 1 ] && echo terminal; trap "echo interrupted; exit 4" INT; echo ready; while :; do sleep 0.02; done';
		// "exec": a shell between script(1) and the command would get the Ctrl-C too, and dash then ends with 130.
		const line = `exec '${process.execPath}' '${MAIN}' exec --map ${MAP} ${unshare} -- sh -c '${inside}'`;
		const pty = spawn("script", ["-qec", line, "/dev/null"], { stdio: "pipe" });
		started.push(pty);
		const end = ended(pty);
		let said = "";
		pty.stdout?.on("data", (chunk) => {
			said += chunk;
		});
		for (let i = 0; !said.includes("ready"); i++) {
			assert.ok(i < 500, said);
			await sleep(20);
		}
		pty.stdin?.write("\x03");
		const { status: code } = await end;
		assert.match(said, /\/dev\/pts\/\d+\r\nterminal\r\nready/);
		assert.match(said, /interrupted/);
		assert.equal(code, 4);
	}
});

test("Ctrl-Z stops the program and the process that stands for it, and fg continues them", {
	needs: [...needs, "tool:script", "tool:bash"],
}, async () => {
	// A shell with job control, at its own terminal. The program starts no process, for dash waits for one in
	// vfork(2), where it cannot be stopped.
	const inside = "echo ready; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo over";
	const line = `${process.execPath} ${MAIN} exec --map ${MAP} --unshare pid -- sh -c '${inside}'`;
	const pty = spawn("script", ["-qec", "bash --norc --noprofile -i", "/dev/null"], {
		stdio: "pipe",
		env: { ...process.env, PS1: "shell> ", TERM: "dumb" },
	});
	started.push(pty);
	const end = ended(pty);
	let said = "";
	pty.stdout?.on("data", (chunk) => {
		said += chunk;
	});
	const says = async (what: RegExp) => {
		for (let i = 0; !what.test(said); i++) {
			assert.ok(i < 500, `nothing like ${what} in ${JSON.stringify(said)}`);
			await sleep(20);
		}
	};
	pty.stdin?.write(`${line}\n`);
	await says(/\nready\r/);
	pty.stdin?.write("\x1a");
	await says(/Stopped/);
	said = "";
	pty.stdin?.write("fg\n");
	await says(/over\r/);
	pty.stdin?.write("exit 6\n");
	assert.equal((await end).status, 6);
});

test("--unshare creates namespaces of these kinds, and the pid namespace ends with the program", {
	needs,
}, async () => {
	const child = command("--map", MAP, "--unshare", "pid,net,mount", "sh", "-c", "sleep 1000 & wait");
	const end = ended(child);
	const sh = await childCalled(child.pid as number, "sh");
	const sleeper = await childCalled(sh, "sleep");
	for (const kind of ["pid", "net", "mnt"]) assert.notEqual(namespaceOf(sh, kind), namespaceOf("self", kind));
	assert.equal(namespaceOf(sh, "uts"), namespaceOf("self", "uts"));
	child.kill("SIGTERM");
	assert.equal((await end).signal, "SIGTERM");
	await gone(sleeper);
});

test(
	"--in enters the namespace of a process, or one that is pinned at a path",
	{ needs: [...needs, "mounts"] },
	() =>
		withTmpfs(async (folder) => {
			mkdirs(folder, "x");
			const path = join(folder, "ns");
			assert.equal(userns("create", "--map", MAP, "--at", path, "--setgroups", "allow").status, 0);
			const byPath = userns("exec", "--in", path, "--uid", "3", "--groups", "4,5", "--", "id");
			assert.match(byPath.stdout, /^uid=3\S* gid=0\S* groups=0\S*,4\S*,5\S*\n$/);

			const child = command("--in", path, "sleep", "1000");
			const end = once(child, "close");
			await becomes(child.pid as number, "sleep");
			const byPid = userns("exec", "--in", String(child.pid), "readlink", "/proc/self/ns/user");
			assert.equal(byPid.stdout.trim(), readlinkSync(`/proc/${child.pid}/ns/user`));
			child.kill("SIGKILL");
			await end;
			assert.equal(userns("umount", path).status, 0);
		}),
);

test("--groups allows setgroups; without the option setgroups is denied", { needs }, () => {
	const read = ["sh", "-c", "cat /proc/self/setgroups"];
	assert.equal(userns("exec", "--map", MAP, ...read).stdout, "deny\n");
	assert.equal(userns("exec", "--map", MAP, "--setgroups", "allow", ...read).stdout, "allow\n");
	assert.equal(userns("exec", "--map", MAP, "--groups", "7", ...read).stdout, "allow\n");
	const both = userns("exec", "--map", MAP, "--groups", "7", "--setgroups", "deny", "true");
	assert.equal(both.status, 125);
	assert.match(both.stderr, /denies setgroups/);
});

test("the status is 125 if nothing starts, 126 if the program cannot be executed, 127 if it is missing, each with a hint", {
	needs,
}, () => {
	const cases: [args: string[], status: number, message: RegExp][] = [
		[["--map", MAP, "--join", "mount", "true"], 125, /--join needs the pid of a process in --in/],
		[["--in", "/proc/1/ns/user", "--join", "all"], 125, /--join needs the pid of a process in --in/],
		[["--map", MAP, "--groups", "1", "--keep-groups", "true"], 125, /both --groups and --keep-groups/],
		[["--map", MAP, "--preserve-fds", "x", "true"], 125, /argument 'x' is invalid/],
		[["--map", MAP, "--preserve-fds", "1", "true"], 125, /the descriptor 3 was not passed to this process/],
		[["--map", MAP, "--chdir", "/no/such", "true"], 125, /there is no directory \/no\/such/],
		[["--map", MAP, "--chdir", "/etc/passwd", "true"], 125, /\/etc\/passwd is not a directory/],
		[["--map", MAP, "/no/such"], 127, /no such program\nhint: Check the path: it does not exist/],
		[["--in", String(process.pid), "true"], 125, /it is the user namespace of this process/],
		[
			["--in", String(process.pid), "--join", "mount", "true"],
			125,
			/it is the user namespace of this process/,
		],
		[["true"], 125, /neither --map nor --in/],
		[["id", "--map", MAP], 125, /^hint: Options come before the command: "userns exec --map MAP -- id"\.$/m],
		[["true", "--in=1"], 125, /^hint: .* "userns exec --in TARGET -- true"\.$/m],
		[["--map", MAP, "--in", "1", "true"], 125, /both --map and --in/],
		[["--map", MAP, "--user", "root", "true"], 125, /--user needs --map auto/],
		[["--in", "1", "--user", "root", "true"], 125, /--user cannot be used with --in/],
		[["--in", "1", "--setgroups", "allow", "true"], 125, /--setgroups cannot be used with --in/],
		[["--map", "0:1", "true"], 125, /column 4/],
		[["--map", "keep-id", "true"], 125, /the caller is root/],
		[["--map", "keep-id:uid=5,size=9", "true"], 125, /the caller is root/],
		[["--map", "keep-id:uid=x", "true"], 125, /"uid=x" is no new uid=N, gid=N or size=N/],
		[["--map", "keep-id:uid=1,uid=2", "true"], 125, /"uid=2" is no new uid=N/],
		[["--map", "keep-id:", "true"], 125, /"" is no new uid=N/],
		[
			["--map", "root:0:1", "true"],
			125,
			/^hint: Write the mapping as .* "userns map convert --from SYNTAX"/m,
		],
		[["--map", MAP, "--uid", "x", "true"], 125, /argument 'x' is invalid/],
		[["--map", MAP, "--uid", "65536", "true"], 125, /the uid 65536 is not mapped/],
		[["--map", MAP, "--groups", "1,,2", "true"], 125, /argument '1,,2' is invalid/],
		[["--map", MAP, "--unshare", "all", "true"], 125, /unknown kind of namespace "all"/],
		[["--in", "2147483647", "true"], 125, /ESRCH/],
		[["--map", MAP, "no-such-program"], 127, /there is no such program/],
		[["--map", MAP, "/etc/passwd"], 126, /may not be executed/],
		[["--map", MAP, "/etc"], 126, /it is a directory\nhint: Name a program\.$/m],
	];
	for (const [args, code, message] of cases) {
		const { status: exit, stdout, stderr } = userns("exec", ...args);
		assert.equal(exit, code, `${args.join(" ")}: ${stderr}`);
		assert.equal(stdout, "");
		assert.match(stderr, message);
		assert.match(stderr, /^userns: .*\nhint: .*\n$/);
	}
});

test(
	"a refusal of the kernel just before exec prints a message, with the same statuses",
	{
		needs: [...needs, "mounts"],
	},
	() =>
		withTmpfs((folder) => {
			const program = join(folder, "program");
			const make = (mode: string, content: string) =>
				spawnSync("sh", ["-c", `printf '%s' "$2" > "$1"; chmod ${mode} "$1"`, "sh", program, content]);
			make("700", "#!/bin/sh\n");
			const barred = userns("exec", "--map", MAP, program);
			assert.equal(barred.status, 126);
			assert.match(
				barred.stderr,
				/^userns: cannot run \S+program" in the user namespace: executing the program: EACCES/,
			);
			make("755", "#!/no/such\n");
			const lost = userns("exec", "--map", MAP, program);
			assert.equal(lost.status, 127);
			assert.match(lost.stderr, /ENOENT/);
		}),
);

test("--json before the program prints a failure as one JSON value; --json after it is the program's", {
	needs,
}, () => {
	const { stdout, status: code } = userns("exec", "--json", "--map", MAP, "no-such-program");
	assert.equal(JSON.parse(stdout).error.code, "ERR_USERNS_NO_PROGRAM");
	assert.equal(code, 127);
	assert.equal(userns("exec", "--map", MAP, "no-such-program", "--json").stdout, "");
});

test("without root, --map auto and --map keep-id are mappings of the user's own and subordinate IDs", {
	needs: ["linux", "ordinary"],
}, () => {
	const answer = askOrdinary<{
		auto: string;
		keep: string;
		other: string;
		own: number;
		create: [number, string];
	}>(
		`import { spawnSync } from "node:child_process";
		import { fileURLToPath } from "node:url";
		const main = new URL("../cli/userns.js", USERNS);
		const run = (...args) => spawnSync(process.execPath, [fileURLToPath(main), ...args], { encoding: "utf8" });
		const map = (word) => run("exec", "--map", word, "sh", "-c", "id -u; sed -n 1,2p /proc/self/uid_map").stdout.trim().split(/\\s+/).join(" ");
		const { status, stderr } = run("create", "--map", "auto", "--at", "/tmp/no/such/folder");
		console.log(JSON.stringify({ auto: map("auto"), keep: map("keep-id"), other: map("keep-id:uid=5,gid=6,size=9"), own: process.getuid(), create: [status, stderr] }));`,
	);
	const { auto, keep, other, own, create } = answer;
	assert.match(auto, new RegExp(`^0 0 ${own} 1 1 \\d+ \\d+$`));
	assert.match(keep, new RegExp(`^${own} 0 \\d+ \\d+ ${own} ${own} 1$`));
	assert.match(other, new RegExp(`^5 0 \\d+ 5 5 ${own} 1$`));
	// Keeping it takes root: the namespace was made, and what failed comes after.
	assert.equal(create[0], 1);
	assert.match(create[1], /cannot pin a user namespace at/);
});

test("for root, --map auto is root's line without root, or the IDs of --user, or every ID of the user namespace", {
	needs: [...needs, "ordinary"],
}, () => {
	const ask = (subuid: readonly string[], args: string, program = '"cat", "/proc/self/uid_map"') =>
		askAs<string>(
			freshUser({ asRoot: true, subuid, subgid: subuid }),
			`import { spawnSync } from "node:child_process";
			import { fileURLToPath } from "node:url";
			const main = fileURLToPath(new URL("../cli/userns.js", USERNS));
			const { stdout, stderr } = spawnSync(process.execPath, [main, "exec", ${args}, ${program}], { encoding: "utf8" });
			console.log(JSON.stringify((stdout + stderr).replaceAll(process.env.USERNS_TEST_UID, "UID").trim().split(/[ ]+/).join(" ")));`,
		);
	const lines = ["root:2100000000:65536", "userns-tester:2100100000:5", "containers:2100200000:7"];
	assert.equal(ask(lines, '"--map", "auto"'), "0 2100000000 65536");
	assert.equal(ask(["0:1:65536"], '"--map", "auto"'), "0 1 65536");
	for (const root of ["root", "0"])
		assert.equal(ask(lines, `"--map", "auto", "--user", "${root}"`), "0 2100000000 65536");
	assert.equal(ask(lines, '"--map", "auto", "--user", "userns-tester"'), "0 UID 1\n 1 2100100000 5");
	assert.equal(ask(lines, '"--map", "auto", "--user", "containers"'), "0 2100200000 7");
	// keep-id runs as the user of --user, unless another uid is given.
	for (const [args, ids] of [
		['"keep-id", "--user", "userns-tester"', "UID\nUID"],
		['"keep-id:uid=33,gid=34", "--user", "userns-tester"', "33\n34"],
		['"keep-id", "--user", "userns-tester", "--uid", "0"', "0\n0"],
		['"keep-id", "--user", "userns-tester", "--gid", "0"', "UID\n0"],
		['"keep-id", "--user", "containers"', "0\n0"],
		['"auto", "--user", "userns-tester"', "0\n0"],
	] as const) {
		assert.equal(ask(lines, `"--map", ${args}`, '"sh", "-c", "id -u; id -g"'), ids, args);
	}
	assert.match(
		ask([], '"--map", "auto"'),
		/the user root has no subordinate uids.*\nhint: As root, add a line such as "root:\d+:65536".* Or give a mapping, such as --map 0:2100000000:65536/,
	);
	assert.equal(ask([], '"--map", "0:2100000000:65536"'), "0 2100000000 65536"); // the hint works
	const inside = '"--map", "0:2100000000:65537", "--", process.execPath, main, "exec", "--map", "auto"';
	assert.equal(ask(lines, inside), "0 0 65537");
});
