import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { SLOWER } from "./slower.ts";

/**
 * A command at its own terminal, which script(1) makes; the command leads the session. script(1) starts $SHELL, or
 * sh without one. dash does not replace itself by its last command, so `exec` gives the same on every machine.
 */
export class Terminal {
	readonly child: ChildProcess;
	readonly end: Promise<number | null>;
	/** The output since the last match of `says`. */
	said = "";
	/** All output. */
	all = "";

	constructor(line: string) {
		this.child = spawn("script", ["-qec", `exec ${line}`, "/dev/null"], {
			stdio: "pipe",
			env: { ...process.env, TERM: "dumb" },
		});
		this.child.stdout?.on("data", (chunk) => {
			this.said += chunk;
			this.all += chunk;
		});
		this.end = new Promise((resolve) => this.child.on("close", resolve));
	}

	/** bash with job control, and without the user's settings. */
	static shell(): Terminal {
		return new Terminal("bash --norc --noprofile -i");
	}

	type(text: string): void {
		this.child.stdin?.write(text);
	}

	/** Waits for a match in the output, and drops the output before its end. */
	async says(what: RegExp): Promise<RegExpExecArray> {
		for (let i = 0; ; i++) {
			const found = what.exec(this.said);
			if (found !== null) {
				this.said = this.said.slice(found.index + found[0].length);
				return found;
			}
			if (i > 500 * SLOWER) throw new Error(`nothing like ${what} in ${JSON.stringify(this.all)}`);
			await sleep(20);
		}
	}

	/** Hangs up: the kernel sends SIGHUP, and a process that ignores it loses its terminal. */
	async close(): Promise<void> {
		this.child.kill("SIGKILL");
		await this.end;
	}
}

/** Gives a terminal to a test and hangs up afterwards. */
export async function atTerminal(
	terminal: Terminal,
	body: (terminal: Terminal) => Promise<void>,
): Promise<void> {
	try {
		await body(terminal);
	} finally {
		await terminal.close();
	}
}
