import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { askOrdinary } from "../support/ordinary.ts";
import { childCalled, childrenCalled } from "../support/programs.ts";
import { atTerminal, Terminal } from "../support/terminal.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "tool:script"] as const;
const jobs = [...needs, "tool:bash"] as const;
const MAP = "0:100000:65536";
const MAIN = join(root, "dist/src/cli/userns.js");
const exec = (line: string, unshare = "pid") =>
	`'${process.execPath}' '${MAIN}' exec --map ${MAP} --unshare ${unshare} -- ${line}`;
/** A shell without job control runs the line, says how it ended and reads its terminal. */
const SCRIPT = (line: string) =>
	`sh -c '${line.replaceAll("'", `'\\''`)}; echo "status $?"; read line; echo "read $? [$line]"'`;

for (const [shell, unshare] of [
	["sh -i", "pid"],
	["sh -i", "pid,mount,time"],
	["sh -i", "time"],
	["bash --norc --noprofile -i", "pid"],
] as const) {
	test(
		`${shell} in a new ${unshare} namespace: its status is its own, and the caller reads its terminal afterwards`,
		{
			needs: [
				...(shell.startsWith("bash") ? jobs : needs),
				...(unshare.endsWith("time") ? (["ns:time"] as const) : []),
			],
		},
		() =>
			atTerminal(new Terminal(SCRIPT(exec(shell, unshare))), async (terminal) => {
				await terminal.says(/> |# |\$ /);
				terminal.type("echo in $((6 * 7))\n");
				await terminal.says(/\nin 42\r/);
				terminal.type("exit 7\n");
				await terminal.says(/status 7\r/);
				assert.doesNotMatch(terminal.all, /cannot|can't|No such process|no job control/i);
				terminal.type("words\n");
				await terminal.says(/read 0 \[words\]/);
				assert.equal(await terminal.end, 0);
			}),
	);
}

test("an ordinary user with subordinate IDs reads the terminal after the program, too", {
	needs: ["linux", "ordinary", "tool:script"],
}, () => {
	const said = askOrdinary<string>(
		`import { spawnSync } from "node:child_process";
		import { fileURLToPath } from "node:url";
		const main = fileURLToPath(new URL("../cli/userns.js", USERNS));
		const line = process.execPath + " " + main + " exec --map auto --unshare pid -- sh -i";
		const script = "sh -c '" + line + '; echo "status $?"; read line; echo "read $? [$line]"' + "'";
		const { stdout } = spawnSync("script", ["-qec", script, "/dev/null"], { input: "exit 7\\nwords\\n", encoding: "utf8" });
		console.log(JSON.stringify(stdout));`,
	);
	assert.match(said, /status 7\r\n[\s\S]*read 0 \[words\]/);
});

/** The process of ours that stands for the program, below the shell that script(1) started. */
async function supervisor(terminal: Terminal): Promise<number> {
	const sh = await childCalled(terminal.child.pid as number, "sh");
	return childCalled(sh, "userns-enter");
}

for (const [who, status] of [
	["the program", 137],
	["process 1 of the namespace", 137],
] as const) {
	test(`when SIGKILL ends ${who}, the caller reads its terminal afterwards`, { needs }, () =>
		atTerminal(new Terminal(SCRIPT(exec("sh -i"))), async (terminal) => {
			await terminal.says(/> |# |\$ /);
			terminal.type("echo in $((6 * 7)); sleep 1000\n");
			await terminal.says(/\nin 42\r/);
			const outer = await supervisor(terminal);
			// "sleep 1000" is a job of the inner shell's by now: a third process group has the terminal.
			const program = await childCalled(outer, "sh");
			await childCalled(program, "sleep");
			const [init] = childrenCalled(outer, "userns-init");
			process.kill(who === "the program" ? program : (init as number), "SIGKILL");
			await terminal.says(new RegExp(`status ${status}\r`));
			terminal.type("words\n");
			await terminal.says(/read 0 \[words\]/);
			assert.equal(await terminal.end, 0);
		}),
	);
}

/** Fields of /proc/PID/stat behind the name: state, ppid, pgrp, session, tty, tpgid. */
const stat = (pid: number) => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];

test(
	"a program with the whole terminal is its foreground process group from the start, and returns it at its end",
	{
		needs,
	},
	() =>
		atTerminal(new Terminal(SCRIPT(exec("sleep 1.5"))), async (terminal) => {
			const outer = await supervisor(terminal);
			const program = await childCalled(outer, "sleep");
			const [, , group, , , foreground] = stat(program);
			assert.deepEqual([group, foreground], [String(program), String(program)]);
			assert.notEqual(stat(outer)[2], group);
			await terminal.says(/status 0\r/);
			const sh = await childCalled(terminal.child.pid as number, "sh");
			assert.equal(stat(sh)[5], stat(sh)[2]);
			terminal.type("\n");
			await terminal.says(/read 0/);
		}),
);

test(
	"Ctrl-Z stops the job, fg returns the terminal to the program, bg continues it without the terminal",
	{
		needs: jobs,
	},
	() =>
		atTerminal(Terminal.shell(), async (terminal) => {
			await terminal.says(/bash-[\d.]+[#$] /);
			terminal.type(`${exec("sh -c 'echo ready; read a; echo got $a; read b; echo over $b'")}\n`);
			await terminal.says(/ready\r/);
			terminal.type("\x1a");
			await terminal.says(/Stopped[\s\S]*bash-[\d.]+[#$] /);
			terminal.type("echo prompt $((6 * 7))\n");
			await terminal.says(/\nprompt 42\r[\s\S]*bash-[\d.]+[#$] /);
			terminal.type("fg\n");
			terminal.type("one\n");
			await terminal.says(/\ngot one\r/);
			terminal.type("\x1a");
			await terminal.says(/Stopped[\s\S]*bash-[\d.]+[#$] /);
			// In the background it stops as soon as it reads.
			terminal.type("bg; sleep 1; jobs\n");
			await terminal.says(/ &\r\n[\s\S]*Stopped/);
			terminal.type("fg\n");
			terminal.type("two\n");
			await terminal.says(/\nover two\r[\s\S]*bash-[\d.]+[#$] /);

			terminal.type(
				`${exec("sh -c 'echo ready; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo over'")}\n`,
			);
			await terminal.says(/ready\r/);
			terminal.type("\x1a");
			await terminal.says(/Stopped[\s\S]*bash-[\d.]+[#$] /);
			terminal.type("bg\n");
			await terminal.says(/over\r/);
			terminal.type("echo prompt $((6 * 7)); exit 6\n");
			await terminal.says(/\nprompt 42\r/);
			assert.equal(await terminal.end, 6);
		}),
);

test(
	"Ctrl-Z also stops the script that runs the command, although the program has another user",
	{ needs: jobs },
	() =>
		atTerminal(Terminal.shell(), async (terminal) => {
			await terminal.says(/bash-[\d.]+[#$] /);
			terminal.type(`${SCRIPT(exec("sh -c 'echo ready; read a; echo got $a'"))}\n`);
			await terminal.says(/ready\r/);
			terminal.type("\x1a");
			await terminal.says(/Stopped[\s\S]*bash-[\d.]+[#$] /);
			terminal.type("fg\n");
			terminal.type("one\n");
			await terminal.says(/\ngot one\r[\s\S]*status 0\r/);
			terminal.type("words\n");
			await terminal.says(/read 0 \[words\][\s\S]*bash-[\d.]+[#$] /);
			terminal.type("exit 6\n");
			assert.equal(await terminal.end, 6);
		}),
);

test("an orphaned process group ignores Ctrl-Z, and Ctrl-C reaches its program", { needs }, () =>
	atTerminal(
		new Terminal(`${exec(`sh -c 'trap "echo interrupted; exit 4" INT; echo ready; read a'`)}`),
		async (terminal) => {
			await terminal.says(/\nready\r|^ready\r/);
			terminal.type("\x1a");
			terminal.type("\x1a");
			terminal.type("\x03");
			await terminal.says(/interrupted/);
			assert.equal(await terminal.end, 4);
		},
	),
);

test(
	"the part of a pipeline that reads the terminal gets it, and Ctrl-C reaches every part",
	{ needs: jobs },
	() =>
		atTerminal(Terminal.shell(), async (terminal) => {
			await terminal.says(/bash-[\d.]+[#$] /);
			// The other end of the pipeline reads the terminal while the program runs.
			terminal.type(
				`${exec("sh -c 'echo ready >&2; sleep 0.5; echo piped'")} | (read a < /dev/tty; cat; echo got $a)\n`,
			);
			await terminal.says(/ready\r/);
			terminal.type("one\n");
			await terminal.says(/\npiped\r\ngot one\r[\s\S]*bash-[\d.]+[#$] /);
			// The program itself does.
			terminal.type(`${exec("sh -c 'echo ready >&2; read a < /dev/tty; echo got $a'")} | cat\n`);
			await terminal.says(/ready\r/);
			terminal.type("two\n");
			await terminal.says(/\ngot two\r[\s\S]*bash-[\d.]+[#$] /);
			terminal.type(
				`${exec("sh -c 'echo ready >&2; sleep 1000'")} | sh -c 'cat; echo "not interrupted"'; echo "status $?"\n`,
			);
			await terminal.says(/ready\r/);
			terminal.type("\x03");
			await terminal.says(/bash-[\d.]+[#$] /);
			terminal.type("exit 6\n");
			assert.equal(await terminal.end, 6);
			assert.doesNotMatch(terminal.all, /\nnot interrupted/);
		}),
);

test("a background command stops when it reads, and fg gives it the terminal", { needs: jobs }, () =>
	atTerminal(Terminal.shell(), async (terminal) => {
		await terminal.says(/bash-[\d.]+[#$] /);
		terminal.type(`${exec("sh -c 'echo ready; read a; echo got $a'")} &\n`);
		await terminal.says(/ready\r/);
		terminal.type("echo prompt $((6 * 7))\n");
		await terminal.says(/\nprompt 42\r/);
		terminal.type("jobs\n");
		await terminal.says(/Stopped/);
		terminal.type("fg\n");
		await terminal.says(/userns/);
		terminal.type("one\n");
		await terminal.says(/\ngot one\r[\s\S]*bash-[\d.]+[#$] /);
		// One that ends in the background leaves the terminal with its user.
		terminal.type(`${exec("sleep 0.5")} & sleep 2.5; echo slept\n`);
		await terminal.says(/\nslept\r[\s\S]*bash-[\d.]+[#$] /);
		terminal.type("exit 6\n");
		assert.equal(await terminal.end, 6);
	}),
);
