import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { UserNamespace } from "../../src/index.ts";
import { root } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { hosted } from "../support/ids.ts";
import { childCalled, ended, gone } from "../support/programs.ts";
import { atTerminal, Terminal } from "../support/terminal.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "ids", "tool:script"] as const;
const MAP = JSON.stringify(hosted("0:100000:65536"));

/**
 * Runs a module at its own terminal. `body` has the library, these functions, and `stat`: state, ppid, pgrp,
 * session, tty, tpgid.
 */
async function scriptAt(
	module: string,
	body: (terminal: Terminal, folder: string) => Promise<void>,
): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-terminal-"));
	const url = (path: string) => JSON.stringify(pathToFileURL(join(root, "dist", path)));
	try {
		chmodSync(folder, 0o755);
		writeFileSync(
			join(folder, "module.mjs"),
			`import fs from "node:fs";
			import { once } from "node:events";
			const { UserNamespace } = await import(${url("src/index.js")});
			const { becomes, childCalled, ended } = await import(${url("test/support/programs.js")});
			const stat = (pid) => fs.readFileSync("/proc/" + pid + "/stat", "utf8").split(") ")[1].split(" ").slice(0, 6);
			const ns = UserNamespace.createSync(${MAP}, { setgroups: "allow" });
			const folder = ${JSON.stringify(folder)};
			${module}
			ns.close();`,
		);
		const line = `'${process.execPath}' --no-warnings '${join(folder, "module.mjs")}'`;
		await atTerminal(new Terminal(line), (terminal) => body(terminal, folder));
	} finally {
		rmSync(folder, { recursive: true });
	}
}

test("a program stays in the session only if an entry of stdio is the session's terminal", { needs }, () =>
	scriptAt(
		`const tty = fs.openSync("/dev/tty", "r+"), master = fs.openSync("/dev/ptmx", "r+"), nothing = fs.openSync("/dev/null", "r+");
		const cases = [
			// The oracle: whether one of the entries is the terminal of the session.
			["a new session", "pipe"], ["a new session", "ignore"], ["a new session", ["ignore", nothing, master]],
			["a new session", ["ignore", "pipe", "pipe", "pipe", "ipc"]],
			["the caller's", "inherit"], ["the caller's", ["ignore", "ignore", "inherit"]], ["the caller's", ["ignore", 1, "pipe"]],
			["the caller's", ["ignore", tty, "ignore"]], ["the caller's", ["ignore", "ignore", process.stderr]],
			["the caller's", ["ignore", "ignore", "ignore", tty]], ["the caller's", ["ignore", "ignore", "ignore", "pipe", tty]],
			["a new session", "inherit", { detached: true }], ["a new session", "pipe", { detached: true }],
			["the caller's", "pipe", { keepSession: true }], ["a new session", "pipe", { keepSession: false }],
		];
		const [, , , session, terminal] = stat(process.pid);
		const wrong = [];
		for (const [wanted, stdio, options] of cases) for (const unshare of [[], ["time"], ["pid"]]) {
			if (!unshare.every((kind) => fs.existsSync("/proc/self/ns/" + kind))) continue;
			const child = ns.spawn("sleep", ["1000"], { stdio, unshare, ...options });
			const end = once(child, "close");
			const pid = unshare.length > 0 ? await childCalled(child.pid, "sleep") : (await becomes(child.pid, "sleep"), child.pid);
			for (const each of [child.pid, pid]) {
				const seen = stat(each).slice(3, 5).join();
				const right = wanted === "the caller's" ? [session, terminal].join() : [child.pid, 0].join();
				if (seen !== right) wrong.push([stdio, unshare, options, each === pid, seen, right]);
			}
			child.kill("SIGKILL");
			await end;
		}
		console.log("RESULT " + JSON.stringify([cases.length, wrong]) + " END");`,
		async (terminal) => {
			const [, result] = await terminal.says(/RESULT (.*) END/);
			assert.deepEqual(JSON.parse(result ?? ""), [15, []]);
		},
	),
);

test("a program types into the terminal that it is given, and into no other", {
	needs: [...needs, "tool:cc"],
}, () => {
	/** Linux 6.2 can reserve TIOCSTI for CAP_SYS_ADMIN. The typing then fails with EIO. */
	const forbidden =
		spawnSync("cat", ["/proc/sys/dev/tty/legacy_tiocsti"], { encoding: "utf8" }).stdout === "0\n";
	const typed = forbidden ? "Input/output error" : "Success";
	return scriptAt(
		`const { spawnSync } = await import("node:child_process");
		const program = folder + "/type-in";
		const cc = spawnSync("cc", ["-O2", "-o", program, ${JSON.stringify(join(root, "test/support/programs/type-in.c"))}], { encoding: "utf8" });
		if (cc.status !== 0) throw new Error(cc.stderr);
		let typed = "";
		process.stdin.on("data", (chunk) => { typed += chunk; });
		const said = {};
		const cases = {
			pipe: {}, pid: { unshare: ["pid", "mount"] }, kept: { keepSession: true },
			given: { stdio: ["ignore", "pipe", "inherit"] }, detached: { stdio: ["ignore", "pipe", "inherit"], detached: true },
		};
		for (const [name, options] of Object.entries(cases)) {
			const { stdout } = await ended(ns.spawn(program, [name + "\\n"], options));
			said[name] = stdout.trim();
		}
		await new Promise((resolve) => setTimeout(resolve, 200));
		process.stdin.destroy();
		console.log("RESULT " + JSON.stringify([said, typed]) + " END");`,
		async (terminal) => {
			const [, result] = await terminal.says(/RESULT (.*) END/);
			const none = "/dev/tty: No such device or address";
			// The last one is the descriptor of a terminal that is no longer the program's.
			const refused = forbidden ? "Input/output error" : "Operation not permitted";
			assert.deepEqual(JSON.parse(result ?? ""), [
				{
					pipe: none,
					pid: none,
					kept: `/dev/tty: ${typed}`,
					given: `/dev/tty: ${typed}; 2: ${typed}`,
					detached: `${none}; 2: ${refused}`,
				},
				forbidden ? "" : "kept\ngiven\ngiven\n",
			]);
		},
	);
});

test("Ctrl-C reaches a program with the terminal, and none in its own session", { needs }, () =>
	scriptAt(
		`process.on("SIGINT", () => console.log("caller interrupted"));
		const line = 'trap "echo program interrupted; exit 0" INT; echo ready; read a; echo over';
		for (const [unshare, stdio] of [[[], "inherit"], [["pid"], "inherit"], [["pid"], ["ignore", "inherit", "inherit"]]]) {
			const { status } = await ended(ns.spawn("sh", ["-c", stdio === "inherit" ? line : line.replace("read a", "sleep 1")], { stdio, unshare }));
			console.log("NEXT " + status);
		}
		const child = ns.spawn("sh", ["-c", line]);
		const end = ended(child);
		await once(child.stdout, "data");
		console.log("piped");
		await once(process, "SIGINT");
		child.stdin.end("\\n");
		console.log("RESULT " + JSON.stringify((await end).stdout) + " END");`,
		async (terminal) => {
			for (let i = 0; i < 3; i++) {
				await terminal.says(/ready\r\n/);
				terminal.type("\x03");
				await terminal.says(/NEXT 0\r\n/);
			}
			await terminal.says(/piped\r\n/);
			terminal.type("\x03");
			const [, result] = await terminal.says(/RESULT (.*) END/);
			assert.equal(JSON.parse(result ?? ""), "ready\nover\n");
			// A program with the whole terminal in a pid namespace is the only foreground process, and otherwise both
			// are.
			assert.equal(terminal.all.match(/caller interrupted/g)?.length, 3);
			assert.equal(terminal.all.match(/program interrupted/g)?.length, 3);
		},
	),
);

for (const unshare of [[], ["time"], ["pid"]] as const) {
	test(`unshare [${unshare}]: the child leads a process group, which process.kill(-pid) reaches`, {
		needs: ["linux", "ids", ...unshare.map((kind) => `ns:${kind}` as const)],
	}, async () => {
		const ns = await UserNamespace.create(hosted("0:100000:65536"), { setgroups: "allow" });
		const child = ns.spawn("sh", ["-c", "sleep 1000 & wait"], { stdio: "ignore", unshare });
		const pid = child.pid as number;
		const end = ended(child);
		try {
			const sh = unshare.length === 0 ? pid : await childCalled(pid, "sh");
			const sleeper = await childCalled(sh, "sleep");
			process.kill(-pid, "SIGTERM");
			assert.equal((await end).signal, "SIGTERM");
			for (const each of [sh, sleeper]) await gone(each);
		} finally {
			child.kill("SIGKILL");
			await end;
			ns.close();
		}
	});
}

test("the end of a program that stopped itself in its own session and was continued from inside is reported", {
	needs: ["linux", "ids"],
}, async () => {
	const ns = await UserNamespace.create(hosted("0:100000:65536"));
	const child = ns.spawn("sh", ["-c", "(sleep 0.3; kill -CONT $$) & kill -STOP $$; exit 7"], {
		stdio: "ignore",
		unshare: ["pid"],
	});
	const late = setTimeout(() => child.kill("SIGKILL"), 20_000);
	assert.equal((await ended(child)).status, 7);
	clearTimeout(late);
	ns.close();
});

test("keepSession throws before a program starts if it is not a boolean, or beside detached", {
	needs: ["linux", "ids"],
}, async () => {
	const ns = await UserNamespace.create(hosted("0:100000:10"));
	const start = (options: object) => () => ns.spawn("true", [], options);
	assert.throws(
		start({ keepSession: 1 }),
		failure("ERR_USERNS_INVALID_ARGUMENT", /keepSession must be a boolean/),
	);
	assert.throws(
		start({ keepSession: true, detached: true }),
		failure("ERR_USERNS_INVALID_ARGUMENT", /keepSession and detached/),
	);
	assert.equal((await ended(ns.spawn("true", [], { keepSession: false, detached: true }))).status, 0);
	ns.close();
});
