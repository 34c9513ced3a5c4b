import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, copyFileSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, sh, userns } from "../support/child.ts";
import { withTmpfs } from "../support/mounts.ts";
import { askAs, freshUser } from "../support/ordinary.ts";
import { childCalled, childrenCalled } from "../support/programs.ts";
import { atTerminal, Terminal } from "../support/terminal.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root"] as const;
const MAIN = join(root, "dist/src/cli/userns.js");
const MAP = "0:100000:65536";

test("with --unshare net a server on 127.0.0.1 is reached, and the device is up and has no other address", {
	needs,
}, () => {
	const script = `
		const server = require("net").createServer((socket) => socket.end("hello")).listen(0, "127.0.0.1", () => {
			require("net").connect(server.address().port, "127.0.0.1").on("data", (data) => {
				console.log(String(data), Object.keys(require("os").networkInterfaces()).join());
				server.close();
			});
		});`;
	const { status, stdout, stderr } = userns(
		"exec",
		"--map",
		MAP,
		"--unshare",
		"net",
		process.execPath,
		"-e",
		script,
	);
	assert.deepEqual([status, stdout, stderr], [0, "hello lo\n", ""]);
});

test("process 1 of a pid namespace is userns-init in ps(1), without arguments", { needs }, async () => {
	const child = spawn(process.execPath, [MAIN, "exec", "--map", MAP, "--unshare", "pid", "sleep", "1000"]);
	try {
		await childCalled(child.pid as number, "sleep");
		const [init] = childrenCalled(child.pid as number, "userns-init");
		assert.equal(
			spawnSync("ps", ["-o", "args=", "-p", String(init)], { encoding: "utf8" }).stdout,
			"userns-init\n",
		);
		assert.match(readFileSync(`/proc/${init}/cmdline`, "utf8"), /^userns-init\0?$/);
		// Its parent was started with the texts of the failures, which would read like one in ps(1).
		assert.match(readFileSync(`/proc/${child.pid}/cmdline`, "utf8"), /^userns-enter\0?$/);
	} finally {
		child.kill("SIGKILL");
		await once(child, "close");
	}
});

test("--preserve-fds passes the descriptors from 3 on, that many and no other", { needs }, () =>
	withTmpfs((folder) => {
		for (const name of ["a", "b"]) writeFileSync(join(folder, name), `${name}\n`);
		const fds = ["a", "b", "a"].map((name) => openSync(join(folder, name), "r"));
		const run = (...args: string[]) =>
			spawnSync(process.execPath, [MAIN, "exec", "--map", MAP, ...args], {
				encoding: "utf8",
				stdio: ["ignore", "pipe", "pipe", ...fds],
			});
		const script = "cat /proc/self/fd/3 /proc/self/fd/4; ls /proc/self/fd | tr '\\n' ' '";
		for (const unshare of [[], ["--unshare", "pid"]]) {
			// ls(1) opens the directory as the first free descriptor.
			assert.equal(run("--preserve-fds", "2", ...unshare, "sh", "-c", script).stdout, "a\nb\n0 1 2 3 4 5 ");
		}
		assert.equal(run("sh", "-c", "ls /proc/self/fd | tr '\\n' ' '").stdout, "0 1 2 3 ");
		const more = run("--preserve-fds", "1000", "true");
		assert.equal(more.status, 125);
		assert.match(
			more.stderr,
			/the descriptor \d+ was not passed to this process\nhint: Open it in the shell/,
		);
		fds.forEach(closeSync);
	}),
);

test("without a program the login shell of SHELL starts, or /bin/sh, in --chdir", { needs }, () => {
	const run = (shell: string | undefined) => {
		const { SHELL: _, ...env } = process.env;
		return spawnSync(process.execPath, [MAIN, "exec", "--map", MAP, "--chdir", "/usr"], {
			encoding: "utf8",
			input: "echo $0; pwd; id -u; exit 3\n",
			env: { ...env, HOME: "/", ...(shell !== undefined && { SHELL: shell }) },
		});
	};
	for (const shell of ["/bin/sh", undefined, ""]) {
		const { status, stdout } = run(shell);
		assert.deepEqual([status, stdout], [3, "-sh\n/usr\n0\n"]);
	}
	const missing = run("/no/such/shell");
	assert.deepEqual([missing.status, missing.stdout], [127, ""]);
});

test("--chdir is entered with the IDs inside", { needs: [...needs, "mounts"] }, () =>
	withTmpfs((folder) => {
		chmodSync(folder, 0o700);
		const { status, stderr } = userns("exec", "--map", MAP, "--chdir", folder, "true");
		assert.equal(status, 125);
		assert.match(stderr, /entering the working directory: EACCES/);
	}),
);

test("--keep-groups keeps the caller's groups, in a namespace that denies and in one that allows setgroups", {
	needs,
}, () => {
	for (const setgroups of ["deny", "allow"]) {
		for (const [keep, expected] of [
			[[], ""],
			[["--keep-groups"], "17 65534"],
		] as const) {
			// A group that the namespace maps has its number inside, any other the overflow gid.
			const args = [
				"exec",
				"--map",
				"u:0:100000:10,g:0:100000:10,g:17:7:1",
				"--setgroups",
				setgroups,
				...keep,
			];
			const { stdout, stderr } = spawnSync(
				"setpriv",
				[
					"--groups",
					"7,8",
					process.execPath,
					MAIN,
					...args,
					"sed",
					"-n",
					"s/^Groups:.//p",
					"/proc/self/status",
				],
				{ encoding: "utf8" },
			);
			assert.equal(stdout.trim(), expected, stderr);
		}
	}
});

test(
	"with --no-new-privs a set-user-ID program has the uid of its caller",
	{ needs: [...needs, "mounts"] },
	() =>
		withTmpfs((folder) => {
			const program = join(folder, "id");
			copyFileSync(sh("sh", "-c", "command -v id").trim(), program);
			sh("chown", "100005:100005", program);
			chmodSync(program, 0o4755);
			chmodSync(folder, 0o755);
			const run = (...args: string[]) =>
				userns("exec", "--map", MAP, "--uid", "7", ...args, program, "-u").stdout;
			assert.equal(run(), "5\n");
			assert.equal(run("--no-new-privs"), "7\n");
		}),
);

/** A container whose first process sleeps, and the pid of that process. */
async function container(body: (pid: number) => Promise<void>): Promise<void> {
	const kinds = "mount,pid,net,ipc,uts,cgroup";
	const script = "mount -t proc proc /proc && hostname inside && exec sleep 1000";
	const child: ChildProcess = spawn(process.execPath, [
		MAIN,
		"exec",
		"--map",
		MAP,
		"--unshare",
		kinds,
		"sh",
		"-c",
		script,
	]);
	try {
		await body(await childCalled(child.pid as number, "sleep"));
	} finally {
		child.kill("SIGKILL");
		await once(child, "close");
	}
}

test(
	"--in PID --join enters a container, with the exit status and the terminal of the caller",
	{
		needs: [...needs, "tool:script", "tool:hostname"],
	},
	() =>
		container(async (pid) => {
			const { stdout, status } = userns(
				"exec",
				"--in",
				String(pid),
				"--join",
				"all",
				"--chdir",
				"/usr",
				"sh",
				"-c",
				"hostname; pwd; exit 9",
			);
			assert.deepEqual([stdout, status], ["inside\n/usr\n", 9]);
			assert.equal(userns("exec", "--in", String(pid), "--join", "mount", "no-such-program").status, 127);
			const missing = userns("exec", "--in", String(pid), "--join", "all", "--chdir", "/no/such", "true");
			assert.match(
				missing.stderr,
				/: entering the working directory: ENOENT \(no such file or directory\)\nhint: Name a directory that exists/,
			);
			assert.equal(missing.status, 125);
			const line = `${process.execPath} ${MAIN} exec --in ${pid} --join all`;
			const program = `${line} -- sh -c "test -t 0 && hostname && read word < /dev/tty && echo got \\$word"`;
			await atTerminal(
				new Terminal(`sh -c '${program}; echo "status $?"; read word; echo "read $? [$word]"'`),
				async (terminal) => {
					await terminal.says(/inside\r/);
					terminal.type("one\n");
					await terminal.says(/got one\r\n[\s\S]*status 0\r/);
					terminal.type("two\n");
					await terminal.says(/read 0 \[two\]/);
					assert.equal(await terminal.end, 0);
				},
			);
		}),
);

test(
	"a seccomp filter that refuses unshare(2), and permits clone(2), does not prevent exec",
	// Without the page, a creation by root executes userns-join, which calls unshare(2).
	{ needs: [...needs, "tool:cc", "shared-page"] },
	() =>
		withTmpfs((folder) => {
			const deny = join(folder, "deny");
			sh("cc", "-O2", "-o", deny, join(root, "test/support/programs/deny.c"));
			chmodSync(folder, 0o755);
			const unshare = process.arch === "x64" ? 272 : 97;
			const under = (...args: string[]) => spawnSync(deny, [`${unshare}=1`, ...args], { encoding: "utf8" });
			assert.match(under("unshare", "--uts", "true").stderr, /Operation not permitted/, "the filter works");
			const { status, stderr } = under(process.execPath, MAIN, "exec", "--map", MAP, "--", "true");
			assert.deepEqual([status, stderr], [0, ""]);
			const refused = under(process.execPath, MAIN, "exec", "--map", MAP, "--unshare", "uts", "true");
			assert.equal(refused.status, 125);
			assert.match(refused.stderr, /creating the other namespaces: EPERM .*\nhint: Allow unshare\(2\)/);
		}),
);

test("the same filter does not prevent exec --map auto of an ordinary user, who needs newuidmap", {
	needs: [...needs, "ordinary", "tool:cc"],
}, () => {
	const unshare = process.arch === "x64" ? 272 : 97;
	// Root sets the filter, as a container engine does, so that no_new_privs does not disable newuidmap.
	const source = join(root, "test/support/programs/deny.c");
	const before = `cc -O2 -DKEEP_PRIVILEGES -o /mnt/bin/deny ${source}`;
	const { uid, options } = freshUser({ asRoot: true, before, through: ["/mnt/bin/deny", `${unshare}=1`] });
	const line = `userns-tester:200000:65536`;
	const env = { ...options.env, USERNS_TEST_SUBUID: `${line}\n`, USERNS_TEST_SUBGID: `${line}\n` };
	const answer = askAs<[number, string][]>(
		{ uid, options: { ...options, env } },
		`import { spawnSync } from "node:child_process";
		import { fileURLToPath } from "node:url";
		const main = fileURLToPath(new URL("../cli/userns.js", USERNS));
		const as = ["--reuid=${uid}", "--regid=${uid}", "--clear-groups", "--"];
		const run = (...args) => {
			const { status, stdout, stderr } = spawnSync("setpriv", [...as, ...args], { encoding: "utf8" });
			return [status, stdout + stderr];
		};
		const exec = (map) => run(process.execPath, main, "exec", "--map", map, "--", "sh", "-c", "sed -n 1p /proc/self/uid_map");
		console.log(JSON.stringify([run("unshare", "--user", "true"), exec("auto"), exec("keep-id")]));`,
	);
	const [filtered, auto, keep] = answer.map(([status, text]) => [status, text.trim().replaceAll(/ +/g, " ")]);
	assert.equal(filtered?.[0], 1, "the filter works");
	assert.match(String(filtered?.[1]), /Operation not permitted/);
	assert.deepEqual(
		[auto, keep],
		[
			[0, `0 ${uid} 1`],
			[0, "0 200000 65536"],
		],
	);
});
